//! Reports: occupancy, revenue, and booked seats as a file.

use std::io;

use actix_web::web::{Bytes, Data};
use chrono::{NaiveDate, SecondsFormat, Utc};
use domain::StoreError;
use domain::error::with_sources;
use domain::ids::{MovieId, TheatreId};
use domain::money::{Currency, Money};
use domain::reports::{
    BookedSeats, Dimension, Occupancy, OccupancyRow, ReportError, ReportQuery, ReportService, Revenue, RevenueRow,
    RowName, SeatLine,
};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::calls::instant;
use crate::http::call::calls;
use crate::http::csv::{CsvFile, cell, records};
use crate::http::mistakes::Mistake;
use crate::http::problem::{Code, Problem};
use crate::http::query::{ParameterValue, Query, parameters};
use crate::http::reply::Json;
use crate::http::session::Staff;
use crate::wiring::state::AppState;

calls! { "staff"
    /// How full the shows of your theatres were.
    ///
    /// From the bookings that are confirmed now, in one snapshot. Cancelled shows are left out. At most 400 days and 10 000 rows.
    GET "/api/admin/reports/occupancy" => occupancy_report: "The rows and their total",
        or [Forbidden, TheatreNotFound, MovieNotFound];

    /// What the shows of your theatres brought in.
    ///
    /// By the day of the show, not of the sale, in one snapshot. Each currency has rows and a total of its own. At most 400 days and
    /// 10 000 rows.
    GET "/api/admin/reports/revenue" => revenue_report: "The rows, and the total of each currency",
        or [Forbidden, TheatreNotFound, MovieNotFound];

    /// Download the booked seats of the shows of your theatres.
    ///
    /// CSV (RFC 4180) in UTF-8, one line for each seat of each booking, cancelled ones included. A cell that a spreadsheet would take for
    /// a formula begins with an apostrophe. If the server fails during the download, the connection is cut, so that a file is never short without
    /// an error. At most 400 days.
    GET "/api/admin/reports/bookings.csv" => booked_seats_file: "The file",
        or [Forbidden, TheatreNotFound, MovieNotFound];
}

parameters! {
    /// Which shows.
    pub struct ReportParameters {
        /// The first day on which shows begin, in the time zone of their theatre: YYYY-MM-DD. By default `to`, or else today (UTC).
        pub from: Option<NaiveDate>,
        /// The last day, inclusive. By default `from`, or else today (UTC).
        pub to: Option<NaiveDate>,
        /// Shows of this theatre.
        pub theatre_id: Option<TheatreId>,
        /// Shows of this movie.
        pub movie_id: Option<MovieId>,
    }

    /// The rows of a report of occupancy.
    pub struct OccupancyParameters {
        /// What the rows are about; `show` by default.
        pub by: Option<ShowDimension>,
    }

    /// The rows of a report of revenue.
    pub struct RevenueParameters {
        /// What the rows are about; `show` by default.
        pub by: Option<Dimension>,
    }

    /// The form of the file.
    pub struct FileParameters {
        /// Whether the file begins with a byte order mark, by which Excel recognises UTF-8.
        pub bom: Option<bool>,
    }
}

impl ReportParameters {
    fn into_query(self) -> ReportQuery {
        let Self { from, to, theatre_id, movie_id } = self;
        let today = || Utc::now().date_naive();
        let first = from.or(to).unwrap_or_else(today);
        ReportQuery { from: first, to: to.unwrap_or(first), theatre_id, movie_id }
    }
}

/// A dimension of which each show has one value.
pub struct ShowDimension(Dimension);

impl ParameterValue for ShowDimension {
    fn schema() -> Schema {
        names(Dimension::OF_SHOWS)
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let dimension = Dimension::parse(text).ok().filter(|dimension| Dimension::OF_SHOWS.contains(dimension));
        dimension.map(Self).ok_or_else(|| Mistake::new("invalid", "must be one of show, movie, theatre, day"))
    }
}

impl ParameterValue for Dimension {
    fn schema() -> Schema {
        names(Self::ALL)
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(|error| Mistake::new("invalid", error.to_string()))
    }
}

fn names<const N: usize>(dimensions: [Dimension; N]) -> Schema {
    let names = dimensions.map(Dimension::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::DaysReversed => Self::field("to", "out_of_range", "must not be before from"),
            ReportError::TooLong { days } => {
                let most = ReportService::DAYS_MAX;
                let message = format!("must be at most {most} days from from, inclusive; this interval has {days}");
                Self::field("to", "out_of_range", message)
            }
            ReportError::TooManyRows { rows } => {
                let most = ReportService::ROWS_MAX;
                let message =
                    format!("gives {rows} rows; at most {most} are possible: shorten the interval, or group the shows");
                Self::field("by", "too_many_rows", message)
            }
            ReportError::Forbidden => Self::new(Code::Forbidden, "You do not work for this theatre."),
            ReportError::TheatreNotFound => Self::new(Code::TheatreNotFound, "This theatre does not exist."),
            ReportError::MovieNotFound => Self::new(Code::MovieNotFound, "This movie does not exist."),
            ReportError::Store(error) => error.into(),
        }
    }
}

/// What a row is about. Members that do not belong to `by` are null.
#[derive(Serialize, ToSchema, Default)]
#[schema(as = ReportRowName)]
pub struct RowNameView {
    show_id: Option<i64>,
    /// When the show begins.
    #[schema(format = DateTime)]
    start_time: Option<String>,
    movie_id: Option<i64>,
    movie_title: Option<String>,
    theatre_id: Option<i64>,
    theatre_name: Option<String>,
    hall_name: Option<String>,
    /// In the time zone of the theatre.
    #[schema(format = Date)]
    day: Option<String>,
    ticket_type: Option<String>,
    /// `online` or `box_office`.
    channel: Option<String>,
}

impl From<RowName> for RowNameView {
    fn from(name: RowName) -> Self {
        let none = Self::default();
        match name {
            RowName::Show { start_time, id, movie, theatre, hall, day } => Self {
                show_id: Some(id.0),
                start_time: Some(instant(start_time)),
                movie_title: Some(movie),
                theatre_name: Some(theatre),
                hall_name: Some(hall),
                day: Some(day.to_string()),
                ..none
            },
            RowName::Movie { title, id } => Self { movie_id: Some(id.0), movie_title: Some(title), ..none },
            RowName::Theatre { name, id } => Self { theatre_id: Some(id.0), theatre_name: Some(name), ..none },
            RowName::Day(day) => Self { day: Some(day.to_string()), ..none },
            RowName::TicketType(code) => Self { ticket_type: Some(code), ..none },
            RowName::Channel(channel) => Self { channel: Some(channel), ..none },
        }
    }
}

/// Numbers of seats.
#[derive(Serialize, ToSchema)]
#[schema(as = Occupancy)]
pub struct OccupancyView {
    shows: i64,
    /// The seats of the halls.
    seats: i64,
    sold: i64,
    /// Kept from sale by the cinema.
    blocked: i64,
    /// Neither sold nor blocked. Held seats are free.
    free: i64,
    /// The share of sold seats, with two decimals.
    #[schema(example = "87.50")]
    percent: String,
}

impl From<Occupancy> for OccupancyView {
    fn from(occupancy: Occupancy) -> Self {
        let points = occupancy.basis_points();
        Self {
            shows: occupancy.shows,
            seats: occupancy.seats,
            sold: occupancy.sold,
            blocked: occupancy.blocked,
            free: occupancy.free(),
            percent: format!("{}.{:02}", points / 100, points % 100),
        }
    }
}

/// A row of a report of occupancy.
#[derive(Serialize, ToSchema)]
#[schema(as = OccupancyRow)]
pub struct OccupancyRowView {
    #[serde(flatten)]
    name: RowNameView,
    #[serde(flatten)]
    occupancy: OccupancyView,
}

impl From<OccupancyRow> for OccupancyRowView {
    fn from(row: OccupancyRow) -> Self {
        Self { name: row.name.into(), occupancy: row.occupancy.into() }
    }
}

/// How full the shows were.
#[derive(Serialize, ToSchema)]
#[schema(as = OccupancyReport)]
pub struct OccupancyReportView {
    #[schema(format = Date)]
    from: String,
    #[schema(format = Date)]
    to: String,
    rows: Vec<OccupancyRowView>,
    /// The sum of the rows.
    total: OccupancyView,
}

/// Tickets and amounts in one currency.
#[derive(Serialize, ToSchema)]
#[schema(as = Revenue)]
pub struct RevenueView {
    currency: String,
    /// Sold tickets, complimentary ones included.
    tickets: i64,
    cancelled_tickets: i64,
    /// The amount with tax, as text with the decimals of the currency.
    #[schema(example = "119.00")]
    gross: String,
    /// The amount without tax.
    #[schema(example = "100.00")]
    net: String,
    /// The tax in `gross`: the sum of the tax of each ticket.
    #[schema(example = "19.00")]
    tax: String,
}

impl RevenueView {
    fn new(currency: Currency, revenue: &Revenue) -> Self {
        let amount = |minor| Money::new(minor, currency).to_string();
        Self {
            currency: currency.code().to_owned(),
            tickets: revenue.tickets,
            cancelled_tickets: revenue.cancelled_tickets,
            gross: amount(revenue.gross_minor),
            net: amount(revenue.net_minor()),
            tax: amount(revenue.tax_minor),
        }
    }
}

/// A row of a report of revenue.
#[derive(Serialize, ToSchema)]
#[schema(as = RevenueRow)]
pub struct RevenueRowView {
    #[serde(flatten)]
    name: RowNameView,
    #[serde(flatten)]
    revenue: RevenueView,
}

impl From<RevenueRow> for RevenueRowView {
    fn from(row: RevenueRow) -> Self {
        Self { name: row.name.into(), revenue: RevenueView::new(row.currency, &row.revenue) }
    }
}

/// What the shows brought in.
#[derive(Serialize, ToSchema)]
#[schema(as = RevenueReport)]
pub struct RevenueReportView {
    #[schema(format = Date)]
    from: String,
    #[schema(format = Date)]
    to: String,
    rows: Vec<RevenueRowView>,
    /// The sum of the rows of each currency.
    totals: Vec<RevenueView>,
}

async fn occupancy_report(
    Staff(member): Staff,
    Query((parameters, OccupancyParameters { by })): Query<(ReportParameters, OccupancyParameters)>,
    state: Data<AppState>,
) -> Result<Json<OccupancyReportView>, Problem> {
    let (query, dimension) = (parameters.into_query(), by.map_or(Dimension::Show, |ShowDimension(by)| by));
    let (rows, total) = state.reports.occupancy(&member, &query, dimension).await?;
    Ok(Json::private(OccupancyReportView {
        from: query.from.to_string(),
        to: query.to.to_string(),
        rows: rows.into_iter().map(OccupancyRowView::from).collect(),
        total: total.into(),
    }))
}

async fn revenue_report(
    Staff(member): Staff,
    Query((parameters, RevenueParameters { by })): Query<(ReportParameters, RevenueParameters)>,
    state: Data<AppState>,
) -> Result<Json<RevenueReportView>, Problem> {
    let (query, dimension) = (parameters.into_query(), by.unwrap_or(Dimension::Show));
    let (rows, totals) = state.reports.revenue(&member, &query, dimension).await?;
    Ok(Json::private(RevenueReportView {
        from: query.from.to_string(),
        to: query.to.to_string(),
        rows: rows.into_iter().map(RevenueRowView::from).collect(),
        totals: totals.iter().map(|(currency, revenue)| RevenueView::new(*currency, revenue)).collect(),
    }))
}

/// The columns of the file.
const COLUMNS: [&str; 20] = [
    "reference",
    "status",
    "channel",
    "payment_kind",
    "booked_at",
    "show_start",
    "show_id",
    "movie",
    "theatre",
    "hall",
    "section",
    "seat",
    "category",
    "ticket_type",
    "price",
    "currency",
    "tax_rate",
    "tax",
    "customer_name",
    "customer_email",
];

async fn booked_seats_file(
    Staff(member): Staff,
    Query((parameters, FileParameters { bom })): Query<(ReportParameters, FileParameters)>,
    state: Data<AppState>,
) -> Result<CsvFile<impl Stream<Item = Result<Bytes, io::Error>>>, Problem> {
    let query = parameters.into_query();
    let mut seats = state.reports.booked_seats(&member, &query).await?;
    // The first part is read before the response begins: a later failure can only cut it off.
    let first = seats.next().await?;
    let mut head = if bom.unwrap_or(false) { "\u{feff}".to_owned() } else { String::new() };
    head.push_str(&records([COLUMNS]).map_err(Problem::internal)?);
    let head = stream::iter([Ok(Bytes::from(head))]);
    let parts = head.chain(parts(seats, first));
    Ok(CsvFile { name: format!("bookings-{}-{}.csv", query.from, query.to), parts })
}

/// Returns the lines, a part at a time: at most two parts are in memory. The next part is read when the client has taken this one, and
/// none after the client has gone.
fn parts(seats: BookedSeats, first: Option<Vec<SeatLine>>) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let parts = stream::try_unfold((seats, first), |(mut seats, part)| async move {
        let Some(part) = part else { return Ok(None) };
        let text = records(part.into_iter().map(cells)).map_err(|error| cut_off(&error.to_string()))?;
        let next = seats.next().await.map_err(|error: StoreError| cut_off(&with_sources(&error)))?;
        Ok(Some((Bytes::from(text), (seats, next))))
    });
    parts.boxed()
}

/// Logs the failure, and returns the error that cuts the connection.
fn cut_off(cause: &str) -> io::Error {
    tracing::error!(cause, "report.cut_off");
    io::Error::other("the report was cut off")
}

fn cells(line: SeatLine) -> [String; COLUMNS.len()] {
    let SeatLine {
        seat,
        booked_at,
        start_time,
        movie_title,
        theatre_name,
        hall_name,
        gross_minor,
        tax_minor,
        tax_rate,
    } = line;
    let amount = |minor| Money::new(minor, seat.currency).to_string();
    [
        seat.reference,
        seat.status.as_str().to_owned(),
        cell(seat.channel),
        cell(seat.payment_kind.unwrap_or_default()),
        booked_at.to_rfc3339_opts(SecondsFormat::Secs, false),
        start_time.to_rfc3339_opts(SecondsFormat::Secs, false),
        seat.place.show_id.to_string(),
        cell(movie_title),
        cell(theatre_name),
        cell(hall_name),
        cell(seat.section),
        cell(format!("{} {}", seat.row, seat.number)),
        cell(seat.category),
        seat.ticket_type.as_str().to_owned(),
        amount(gross_minor),
        seat.currency.code().to_owned(),
        tax_rate.to_string(),
        amount(tax_minor),
        cell(seat.customer_name),
        cell(seat.customer_email),
    ]
}
