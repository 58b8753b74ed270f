//! Reports: the occupancy of shows, revenue, and the booked seats one by one.
//!
//! All figures come from the ledger: the rows of bookings and their seats. A store reads them in one snapshot and adds them to a report;
//! what counts as sold, which day a show belongs to, and how much tax a price includes are decided here.

mod ledger;
mod occupancy;
mod ports;
mod revenue;
mod rows;
mod selection;
mod service;

pub use ledger::{
    BookedSeat, BookedSeatPlace, ReportShow, SeatCount, SoldTickets, counts_as_cancelled, counts_as_sold,
};
pub use occupancy::{Occupancy, OccupancyReport, OccupancyRow};
#[cfg(feature = "mock")]
pub use ports::MockReportStore;
pub use ports::ReportStore;
pub use revenue::{Revenue, RevenueReport, RevenueRow};
pub use rows::{Dimension, DimensionError, RowName};
pub use selection::{ReportQuery, ShowSelection};
pub use service::{BookedSeats, ReportError, ReportService, SeatLine};

#[cfg(test)]
mod tests;
