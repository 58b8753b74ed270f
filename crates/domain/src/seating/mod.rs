//! Halls' seats, and which of a show's seats are free.
//!
//! **A seat is available unless it is claimed.** A show of 500 seats has no rows for its seats, only for its claims.

mod choice;
mod ports;
mod service;
mod types;

#[cfg(test)]
pub(crate) use choice::tests::gaps_left;
pub use choice::{QUANTITY_MAX, SeatWish, alternatives, best_seats, forbidden_gaps};
pub use ports::{LayoutStore, SeatingStore};
#[cfg(feature = "mock")]
pub use ports::{MockLayoutStore, MockSeatingStore};
pub use service::{SeatMap, SeatMapError, SeatOnMap, SeatingService};
pub use types::{
    CategoryPrice, ClaimStatus, ClaimStatusError, Layout, LayoutError, Seat, SeatAvailability, SeatClaim,
    SeatSelection, SeatSelectionError, ShowSeating,
};
