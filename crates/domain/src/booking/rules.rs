//! The rules that a cinema sets.

use chrono::TimeDelta;

/// Whether a selection may leave a single seat empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SeatGapRule {
    #[default]
    Off,
    /// It may not, unless every selection of the same size in that row leaves one.
    Forbid,
}

/// The rules that a cinema sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The maximum number of seats of a booking, and of a user's live holds on one show together.
    pub seats_max: usize,
    /// The maximum number of seats in a user's live holds on all shows. At least `seats_max`.
    pub held_seats_max: usize,
    /// The time from the creation or extension of a hold to its expiry.
    pub hold_ttl: TimeDelta,
    /// The time before a show from which its bookings cannot be cancelled.
    pub cancellation_cutoff: TimeDelta,
    /// The maximum number of bookings that a user may cancel within [`Rules::CANCELLATIONS_COUNTED`].
    pub cancellations_max: usize,
    pub seat_gaps: SeatGapRule,
}

impl Rules {
    /// The time for which a cancellation counts towards `cancellations_max`.
    pub const CANCELLATIONS_COUNTED: TimeDelta = TimeDelta::hours(24);
}

impl Default for Rules {
    /// Returns the rules of a cinema that has set none.
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
