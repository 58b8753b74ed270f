//! What the house allows.

use chrono::TimeDelta;

/// Whether a selection may leave a single seat empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SeatGapRule {
    /// It may.
    #[default]
    Off,
    /// It may not, unless no selection of as many seats in that row leaves none.
    Forbid,
}

/// The rules that a house sets for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// How many seats a booking may have, and all live holds of a user on one show together.
    pub seats_max: usize,
    /// How many seats a user may keep from others without having bought them, over all shows. At least `seats_max`.
    pub held_seats_max: usize,
    /// How long a hold keeps its seats, from when it was made or extended.
    pub hold_ttl: TimeDelta,
    /// Until how long before its show a booking can be cancelled.
    pub cancellation_cutoff: TimeDelta,
    /// How many of their bookings a user may cancel within [`Rules::CANCELLATIONS_COUNTED`].
    pub cancellations_max: usize,
    /// Whether a selection may leave a single seat empty.
    pub seat_gaps: SeatGapRule,
}

impl Rules {
    /// How long a cancellation counts towards `cancellations_max`.
    pub const CANCELLATIONS_COUNTED: TimeDelta = TimeDelta::hours(24);
}

impl Default for Rules {
    /// The rules of a house that has set none.
    fn default() -> Self {
        Self {
            seats_max: 10,
            held_seats_max: 20,
            hold_ttl: TimeDelta::minutes(10),
            cancellation_cutoff: TimeDelta::hours(2),
            cancellations_max: 10,
            seat_gaps: SeatGapRule::Off,
        }
    }
}
