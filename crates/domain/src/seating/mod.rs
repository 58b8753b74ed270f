//! Halls' seats, and which of a show's seats are free.
//!
//! **A seat is available unless it is claimed.** A show of 500 seats has no rows for its seats, only for its claims.

mod choice;
mod ports;
mod service;
mod types;

pub use choice::{QUANTITY_MAX, SeatWish, SelectionRank, alternatives, best_seats, forbidden_gaps, gaps_left, rank};
pub use ports::{LayoutStore, SeatingStore};
#[cfg(feature = "mock")]
pub use ports::{MockLayoutStore, MockSeatingStore};
pub use service::{SeatMap, SeatMapError, SeatOnMap, SeatingService};
pub use types::{
    CategoryPrice, ClaimStatus, ClaimStatusError, Layout, LayoutError, Seat, SeatAvailability, SeatClaim,
    SeatSelection, SeatSelectionError, ShowSeating,
};
