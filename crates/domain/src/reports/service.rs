//! The service of reports.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use thiserror::Error;

use super::{
    BookedSeat, BookedSeatPlace, Dimension, Occupancy, OccupancyReport, OccupancyRow, ReportQuery, ReportShow,
    ReportStore, Revenue, RevenueReport, RevenueRow, ShowSelection,
};
use crate::admin::{Authority, StaffMember};
use crate::catalog::{CatalogStore, all_theatres};
use crate::error::StoreError;
use crate::ids::ShowId;
use crate::money::{Currency, TaxRate};

/// The reason why there is no report.
#[derive(Debug, Clone, Error)]
pub enum ReportError {
    #[error("the last day is before the first")]
    DaysReversed,
    #[error("a report covers at most {} days; this interval has {days}", ReportService::DAYS_MAX)]
    TooLong { days: i64 },
    #[error("the report has {rows} rows; at most {} are possible", ReportService::ROWS_MAX)]
    TooManyRows { rows: usize },
    #[error("the member of staff does not work for this theatre")]
    Forbidden,
    #[error("the theatre does not exist")]
    TheatreNotFound,
    #[error("the movie does not exist")]
    MovieNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reports for staff, each limited to the theatres that they work for.
pub struct ReportService {
    pub reports: Arc<dyn ReportStore>,
    pub catalog: Arc<dyn CatalogStore>,
}

impl ReportService {
    /// The maximum number of days of a report: a year, and some days to compare with.
    pub const DAYS_MAX: i64 = 400;
    /// The maximum number of rows of a report. A response of so many rows has about 4 MB.
    pub const ROWS_MAX: usize = 10_000;

    /// Returns how full the shows were, and the total.
    pub async fn occupancy(
        &self,
        member: &StaffMember,
        query: &ReportQuery,
        dimension: Dimension,
    ) -> Result<(Vec<OccupancyRow>, Occupancy), ReportError> {
        let selection = self.select(member, query).await?;
        let (rows, total) = self.reports.occupancy(OccupancyReport::new(selection, dimension)).await?.finish();
        check_rows(rows.len())?;
        Ok((rows, total))
    }

    /// Returns what the shows brought in, and the total of each currency.
    pub async fn revenue(
        &self,
        member: &StaffMember,
        query: &ReportQuery,
        dimension: Dimension,
    ) -> Result<(Vec<RevenueRow>, Vec<(Currency, Revenue)>), ReportError> {
        let selection = self.select(member, query).await?;
        let (rows, totals) = self.reports.revenue(RevenueReport::new(selection, dimension)).await?.finish();
        check_rows(rows.len())?;
        Ok((rows, totals))
    }

    /// Returns a reader of the booked seats of the shows.
    pub async fn booked_seats(&self, member: &StaffMember, query: &ReportQuery) -> Result<BookedSeats, ReportError> {
        let selection = self.select(member, query).await?;
        let shows = self.reports.report_shows(&selection).await?;
        Ok(BookedSeats { reports: Arc::clone(&self.reports), selection, shows, begin: 0, after: None })
    }

    /// Checks a query, and returns the shows of the theatres that the member of staff works for.
    async fn select(&self, member: &StaffMember, query: &ReportQuery) -> Result<ShowSelection, ReportError> {
        if query.to < query.from {
            return Err(ReportError::DaysReversed);
        }
        let days = (query.to - query.from + TimeDelta::days(1)).num_days();
        if days > Self::DAYS_MAX {
            return Err(ReportError::TooLong { days });
        }
        if let Some(movie) = query.movie_id {
            self.catalog.movie(movie).await?.ok_or(ReportError::MovieNotFound)?;
        }
        let theatres = match query.theatre_id {
            Some(id) => {
                let theatre = self.catalog.theatre(id).await?.ok_or(ReportError::TheatreNotFound)?;
                if !member.has(Authority::Theatre(id)) {
                    return Err(ReportError::Forbidden);
                }
                vec![theatre]
            }
            None => {
                let all = all_theatres(self.catalog.as_ref()).await?;
                all.into_iter().filter(|theatre| member.has(Authority::Theatre(theatre.id))).collect()
            }
        };
        Ok(ShowSelection::new(query, theatres))
    }
}

fn check_rows(rows: usize) -> Result<(), ReportError> {
    if rows > ReportService::ROWS_MAX { Err(ReportError::TooManyRows { rows }) } else { Ok(()) }
}

/// A booked seat with its show, in the time zone of the theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatLine {
    pub seat: BookedSeat,
    pub booked_at: DateTime<Tz>,
    pub start_time: DateTime<Tz>,
    pub movie_title: String,
    pub theatre_name: String,
    pub hall_name: String,
    /// The amount that the ticket brings in, whatever the status of its booking.
    pub gross_minor: i64,
    pub tax_minor: i64,
    pub tax_rate: TaxRate,
}

/// Reads booked seats part by part, in bounded memory: the shows, and the next seats.
///
/// The shows are read once, and each part is a snapshot of its own. A seat is in at most one part, in its state at that time.
pub struct BookedSeats {
    reports: Arc<dyn ReportStore>,
    selection: ShowSelection,
    shows: Vec<ReportShow>,
    /// The index of the first show that is not finished.
    begin: usize,
    after: Option<BookedSeatPlace>,
}

impl BookedSeats {
    /// The maximum number of seats of a part.
    const SEATS_MAX: usize = 2_000;
    /// The maximum number of shows that one statement reads.
    const SHOWS_MAX: usize = 200;

    /// Returns the next seats, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<SeatLine>>, StoreError> {
        let limit = i64::try_from(Self::SEATS_MAX).unwrap_or(i64::MAX);
        while let Some(shows) = self.shows.get(self.begin..).filter(|shows| !shows.is_empty()) {
            let shows = Self::shows_of_part(shows);
            let ids: Vec<ShowId> = shows.iter().map(|show| show.id).collect();
            let seats = self.reports.booked_seats(&ids, self.after, limit).await?;
            match seats.last().filter(|_| seats.len() >= Self::SEATS_MAX) {
                Some(last) => {
                    self.after = Some(last.place);
                    let done = ids.iter().take_while(|id| **id < last.place.show_id).count();
                    let lines = self.lines(shows, seats)?;
                    self.begin += done;
                    return Ok(Some(lines));
                }
                None => {
                    let lines = self.lines(shows, seats)?;
                    self.begin += ids.len();
                    self.after = None;
                    if !lines.is_empty() {
                        return Ok(Some(lines));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Returns the first shows, with about as many seats as a part has: the seats of more shows would be read and sorted again for each part.
    fn shows_of_part(shows: &[ReportShow]) -> &[ReportShow] {
        let mut seats = 0_usize;
        let fitting = shows.iter().take(Self::SHOWS_MAX).take_while(|show| {
            seats = seats.saturating_add(usize::try_from(show.seats_total).unwrap_or(usize::MAX));
            seats <= Self::SEATS_MAX
        });
        // At least one show, however large.
        let count = fitting.count().max(1);
        shows.get(..count).unwrap_or(shows)
    }

    fn lines(&self, shows: &[ReportShow], seats: Vec<BookedSeat>) -> Result<Vec<SeatLine>, StoreError> {
        let line = |seat: BookedSeat| {
            let show = shows.iter().find(|show| show.id == seat.place.show_id);
            let found = show.and_then(|show| Some((show, self.selection.theatre(show.theatre_id)?)));
            let (show, theatre) = found.ok_or_else(|| StoreError::internal("a booked seat of another show"))?;
            let (gross_minor, tax_minor) = seat.gross_and_tax(theatre.tax_rate);
            Ok(SeatLine {
                booked_at: seat.booked_at.with_timezone(&theatre.timezone),
                start_time: show.start_time.with_timezone(&theatre.timezone),
                movie_title: show.movie_title.clone(),
                theatre_name: theatre.name.clone(),
                hall_name: show.hall_name.clone(),
                gross_minor,
                tax_minor,
                tax_rate: seat.tax_rate.unwrap_or(theatre.tax_rate),
                seat,
            })
        };
        seats.into_iter().map(line).collect()
    }
}
