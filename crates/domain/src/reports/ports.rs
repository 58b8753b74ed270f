//! The port of reports.

use async_trait::async_trait;

use super::{BookedSeat, BookedSeatPlace, OccupancyReport, ReportShow, RevenueReport, ShowSelection};
use crate::error::StoreError;
use crate::ids::ShowId;

/// Reads the ledger.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Adds the shows of the report's selection, their booked seats and their blocked seats, from one snapshot.
    ///
    /// An invalid row MUST be an error: a report without it would be wrong.
    async fn occupancy(&self, report: OccupancyReport) -> Result<OccupancyReport, StoreError>;

    /// Adds the shows of the report's selection and all tickets of their bookings, whatever their status, from one snapshot.
    ///
    /// An invalid row MUST be an error.
    async fn revenue(&self, report: RevenueReport) -> Result<RevenueReport, StoreError>;

    /// Returns the shows of the selection, ordered by id.
    async fn report_shows(&self, selection: &ShowSelection) -> Result<Vec<ReportShow>, StoreError>;

    /// Returns the first `limit` booked seats of these shows after the position, ordered by it, whatever the status of their bookings.
    async fn booked_seats(
        &self,
        shows: &[ShowId],
        after: Option<BookedSeatPlace>,
        limit: i64,
    ) -> Result<Vec<BookedSeat>, StoreError>;
}
