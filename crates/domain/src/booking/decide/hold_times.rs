//! The time for which a user can hold a seat, which earlier holds and bookings of the seat shorten.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::booking::refusal::Refusal;
use crate::booking::snapshot::Snapshot;
use crate::booking::types::{Hold, SoldSeat, Tenure};
use crate::ids::{SeatId, ShowId, UserId};

/// The remaining hold time of a user for each seat of a show: what is left of [`Hold::LIFE_MAX`] after recent tenures.
pub(super) struct HoldTimes {
    tenures: HashMap<SeatId, Vec<Tenure>>,
}

impl HoldTimes {
    pub(super) fn new(state: &Snapshot, show_id: ShowId, user_id: UserId) -> Self {
        let ended = state.tenures.iter().filter(|(place, _)| (place.show_id, place.user_id) == (show_id, user_id));
        let ended = ended.map(|(place, tenure)| (place.seat_id, *tenure));
        // An expired hold wrote no tenure: its row is still there.
        let holds = state.holds.values().filter(|hold| (hold.show_id, hold.user_id) == (show_id, user_id));
        let held = holds.flat_map(|hold| {
            let tenure = Tenure { since: hold.created_at, until: hold.expires_at };
            hold.seats.iter().map(move |seat| (seat.id, tenure))
        });
        let mut tenures: HashMap<SeatId, Vec<Tenure>> = HashMap::new();
        for (seat, tenure) in ended.chain(held) {
            tenures.entry(seat).or_default().push(tenure);
        }
        Self { tenures }
    }

    /// Returns the seats with tenures.
    pub(super) fn seats(&self) -> impl Iterator<Item = SeatId> {
        self.tenures.keys().copied()
    }

    /// Returns the beginning of a tenure from `from`, including earlier tenures that it continues.
    pub(super) fn begin(&self, seat: SeatId, from: DateTime<Utc>) -> DateTime<Utc> {
        self.tenures.get(&seat).map_or(from, |earlier| Tenure::begin(earlier, from))
    }

    /// Returns the end of a hold that begins at `from`. It is not after `from` if the hold time is used up.
    pub(super) fn ends(&self, seat: SeatId, from: DateTime<Utc>) -> DateTime<Utc> {
        self.begin(seat, from) + Hold::LIFE_MAX
    }

    /// Returns the end of a hold of these seats, or a refusal with the seats whose hold time is used up.
    pub(super) fn check(&self, seats: &[SoldSeat], now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
        let used_up = seats.iter().map(|seat| seat.id).filter(|seat| self.ends(*seat, now) <= now);
        let seat_ids: Vec<SeatId> = used_up.collect();
        let tenures = seat_ids.iter().filter_map(|seat| self.tenures.get(seat)).flatten();
        match tenures.map(|tenure| tenure.until + Tenure::GAP).max() {
            Some(again_at) => Err(Refusal::SeatHoldTimeUsed { seat_ids, retry_in: again_at - now }),
            None => Ok(seats.iter().map(|seat| self.ends(seat.id, now)).min().unwrap_or(now)),
        }
    }
}
