//! The seats of halls, and which seats of a show are free.
//!
//! **A seat is available unless it is claimed.** A show of 500 seats has rows in the store only for its claims, not for its seats.

mod choice;
mod layout;
pub mod plan;
mod ports;
mod row_name;
mod service;
mod types;

#[cfg(test)]
pub(crate) use choice::tests::gaps_left;
pub use choice::{QUANTITY_MAX, SeatWish, alternatives, best_seats, forbidden_gaps};
pub use layout::{FocalPoint, Layout, LayoutError, Seat, SeatSeed, Section};
pub use plan::{LayoutPlan, PlanMistake, PlanPlace, PlanProblem, PlannedLayout, RowPlan, SectionPlan};
pub use ports::{LayoutStore, SeatingStore};
#[cfg(feature = "mock")]
pub use ports::{MockLayoutStore, MockSeatingStore};
pub use row_name::RowName;
pub use service::{SeatMap, SeatMapError, SeatOnMap, SeatingService};
pub use types::{
    CategoryPrice, ClaimStatus, ClaimStatusError, SeatAvailability, SeatClaim, SeatSelection, SeatSelectionError,
    ShowSeating, TicketSelection,
};
