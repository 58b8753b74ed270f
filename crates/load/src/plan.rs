//! The contents of a filled store. Ids are the same in every store, because rows are added to a new store in one order.

use domain::ids::{SeatId, ShowId, UserId};

/// The number of halls. Each has its own layout.
pub const HALLS: u64 = 20;
/// The number of rows of a hall.
pub const ROWS: u64 = 10;
/// The number of seats of a row.
pub const SEATS_OF_ROW: u64 = 20;
/// The number of seats of a hall.
pub const SEATS: u64 = ROWS * SEATS_OF_ROW;
/// The number of shows: show 1 is in the first hall, show 2 in the second one, and so on.
pub const SHOWS: u64 = 2_000;
pub const USERS: u64 = 1_000;

/// A seat of a show, and the user who books it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Booking {
    pub user: UserId,
    pub show: ShowId,
    pub seat: SeatId,
}

/// Returns the booking of this number. Each number is a different seat; `None` if all are sold.
pub fn booking(number: u64) -> Option<Booking> {
    let hall = number % HALLS;
    let seat = number / SHOWS;
    (seat < SEATS).then(|| Booking {
        user: UserId(id(number % USERS + 1)),
        show: ShowId(id(number % SHOWS + 1)),
        seat: SeatId(id(hall * SEATS + seat + 1)),
    })
}

fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_number_is_another_seat_of_the_shows_own_hall() {
        let mut sold = HashSet::new();
        for number in 0..SHOWS * SEATS {
            let Booking { user, show, seat } = booking(number).unwrap();
            assert!(sold.insert((show, seat)));
            assert!((1..=1_000).contains(&user.0) && (1..=2_000).contains(&show.0));
            // Show 1 is in the first hall, whose seats come first.
            assert_eq!((show.0 - 1) % 20, (seat.0 - 1) / 200);
        }
        assert_eq!(booking(SHOWS * SEATS), None);
    }
}
