//! Reads the ledger for reports.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Untyped};
use domain::StoreError;
use domain::booking::BookingStatus;
use domain::catalog::{DayWindow, ShowStatus};
use domain::ids::{BookingId, MovieId, ShowId, TheatreId};
use domain::reports::{
    BookedSeat, BookedSeatPlace, OccupancyReport, ReportShow, ReportStore, RevenueReport, SeatCount, ShowSelection,
    SoldTickets,
};

use crate::error::bad_row;
use crate::rows::{currency, parse_all, tax_rate, ticket_type};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, Snapshot};

/// The time limit of a statement that aggregates, on a slow machine.
const STATEMENT_MAX: Duration = Duration::from_secs(20);
/// The number of shows that one statement aggregates, in the order of their starts: about a month of the largest chain. It ends within its
/// time limit however long the interval of a report is.
const SHOWS_MAX: usize = 12_000;

statement!(ReadShows: Untyped = "
    SELECT s.id, s.movie_id, m.title AS movie_title, s.theatre_id, h.name AS hall_name, s.start_time, s.status,
        l.seats_total
    FROM unnest($1, $2, $3) AS during (theatre_id, from_time, to_time)
    JOIN shows s ON s.theatre_id = during.theatre_id
        AND s.start_time >= during.from_time AND s.start_time < during.to_time
    JOIN movies m ON m.id = s.movie_id
    JOIN halls h ON h.id = s.hall_id
    JOIN layouts l ON l.id = s.layout_id
    WHERE $4::bigint IS NULL OR s.movie_id = $4
    ORDER BY s.id");
// Tickets of shows that begin at about the same time are sold at about the same time, so that their bookings have neighbouring ids. With
// these bounds, the seats of a month are read in the order of their table and hashed; without them, the seats of all times are, or the
// seats of each booking one by one. The sum keeps PostgreSQL from searching the extremes along the primary key.
statement!(ReadBounds: (Nullable<BigInt>, Nullable<BigInt>) = "
    SELECT min(b.id + 0), max(b.id + 0) FROM bookings b WHERE b.show_id = ANY ($1)");
statement!(CountSeats: Untyped = "
    SELECT b.show_id, b.status, count(*) AS seats
    FROM bookings b JOIN booking_seats sold ON sold.booking_id = b.id
    WHERE b.show_id = ANY ($1) AND sold.booking_id BETWEEN $2 AND $3
    GROUP BY b.show_id, b.status");
statement!(CountBlocked: (BigInt, BigInt) = "
    SELECT c.show_id, count(*) FROM seat_claims c
    WHERE c.show_id = ANY ($1) AND c.status = 'blocked'
    GROUP BY c.show_id");
statement!(SumTickets: Untyped = "
    SELECT b.show_id, b.status, b.channel, b.payment_kind, b.currency, b.tax_basis_points, sold.ticket_type,
        sold.price_minor, count(*) AS tickets
    FROM bookings b JOIN booking_seats sold ON sold.booking_id = b.id
    WHERE b.show_id = ANY ($1) AND sold.booking_id BETWEEN $2 AND $3
    GROUP BY b.show_id, b.status, b.channel, b.payment_kind, b.currency, b.tax_basis_points, sold.ticket_type,
        sold.price_minor");
statement!(ListBookedSeats: Untyped = "
    SELECT b.show_id, b.id AS booking_id, sold.position, b.reference, b.status, b.channel, b.payment_kind,
        b.booked_at, seats.section, seats.row_label, seats.number, sold.category, sold.ticket_type, b.currency,
        sold.price_minor, b.tax_basis_points, u.name AS customer_name, u.email AS customer_email
    FROM bookings b
    JOIN booking_seats sold ON sold.booking_id = b.id
    JOIN seats ON seats.id = sold.seat_id
    JOIN users u ON u.id = b.user_id
    WHERE b.show_id = ANY ($1)
      AND ($2::bigint IS NULL OR (b.show_id, b.id, sold.position) > ($2, $3::bigint, $4::bigint))
    ORDER BY b.show_id, b.id, sold.position
    LIMIT $5");

#[derive(QueryableByName)]
struct ShowRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    movie_id: i64,
    #[diesel(sql_type = Text)]
    movie_title: String,
    #[diesel(sql_type = BigInt)]
    theatre_id: i64,
    #[diesel(sql_type = Text)]
    hall_name: String,
    #[diesel(sql_type = Timestamptz)]
    start_time: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Integer)]
    seats_total: i32,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    show_id: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    seats: i64,
}

#[derive(QueryableByName)]
struct TicketsRow {
    #[diesel(sql_type = BigInt)]
    show_id: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    payment_kind: Option<String>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Integer>)]
    tax_basis_points: Option<i32>,
    #[diesel(sql_type = Text)]
    ticket_type: String,
    #[diesel(sql_type = BigInt)]
    price_minor: i64,
    #[diesel(sql_type = BigInt)]
    tickets: i64,
}

#[derive(QueryableByName)]
struct SeatRow {
    #[diesel(sql_type = BigInt)]
    show_id: i64,
    #[diesel(sql_type = BigInt)]
    booking_id: i64,
    #[diesel(sql_type = SmallInt)]
    position: i16,
    #[diesel(sql_type = Text)]
    reference: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    payment_kind: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    booked_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    section: String,
    #[diesel(sql_type = Text)]
    row_label: String,
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    category: String,
    #[diesel(sql_type = Text)]
    ticket_type: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    price_minor: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    tax_basis_points: Option<i32>,
    #[diesel(sql_type = Text)]
    customer_name: String,
    #[diesel(sql_type = Text)]
    customer_email: String,
}

#[async_trait]
impl ReportStore for PostgresStore {
    async fn occupancy(&self, mut report: OccupancyReport) -> Result<OccupancyReport, StoreError> {
        let mut snapshot = self.snapshot_of_reports().await?;
        let shows = shows(&mut snapshot, report.selection()).await?;
        shows.iter().for_each(|show| report.show(show));
        for ids in parts(&shows) {
            let (first, last) = bounds(&mut snapshot, &ids).await?;
            let counts: Vec<CountRow> =
                snapshot.load(bind!(CountSeats, Array<BigInt> = ids.clone(), BigInt = first, BigInt = last)).await?;
            for row in counts {
                let status = BookingStatus::parse(&row.status).map_err(bad_row)?;
                report.booked(&SeatCount { show_id: ShowId(row.show_id), status, seats: row.seats });
            }
            let blocked: Vec<(i64, i64)> = snapshot.load(bind!(CountBlocked, Array<BigInt> = ids)).await?;
            blocked.into_iter().for_each(|(show, seats)| report.blocked(ShowId(show), seats));
        }
        snapshot.finish().await?;
        Ok(report)
    }

    async fn revenue(&self, mut report: RevenueReport) -> Result<RevenueReport, StoreError> {
        let mut snapshot = self.snapshot_of_reports().await?;
        let shows = shows(&mut snapshot, report.selection()).await?;
        let parts: Vec<_> = parts(&shows).collect();
        shows.into_iter().for_each(|show| report.show(show));
        for ids in parts {
            let (first, last) = bounds(&mut snapshot, &ids).await?;
            let rows: Vec<TicketsRow> =
                snapshot.load(bind!(SumTickets, Array<BigInt> = ids, BigInt = first, BigInt = last)).await?;
            for row in rows {
                report.tickets(&tickets(row)?);
            }
        }
        snapshot.finish().await?;
        Ok(report)
    }

    async fn report_shows(&self, selection: &ShowSelection) -> Result<Vec<ReportShow>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let shows = shows(&mut snapshot, selection).await?;
        snapshot.finish().await?;
        Ok(shows)
    }

    async fn booked_seats(
        &self,
        shows: &[ShowId],
        after: Option<BookedSeatPlace>,
        limit: i64,
    ) -> Result<Vec<BookedSeat>, StoreError> {
        let rows: Vec<SeatRow> = self
            .load(bind!(
                ListBookedSeats,
                Array<BigInt> = shows.iter().map(|id| id.0).collect::<Vec<_>>(),
                Nullable<BigInt> = after.map(|place| place.show_id.0),
                Nullable<BigInt> = after.map(|place| place.booking_id.0),
                Nullable<BigInt> = after.map(|place| place.position),
                BigInt = limit,
            ))
            .await?;
        parse_all(rows, booked_seat)
    }
}

impl PostgresStore {
    /// Begins a transaction whose statements aggregate many rows: each is planned for its own values, hashes in memory, and is not compiled,
    /// which takes longer than it saves.
    async fn snapshot_of_reports(&self) -> Result<Snapshot, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let settings =
            "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off";
        snapshot.set(settings, STATEMENT_MAX).await?;
        Ok(snapshot)
    }
}

/// Returns the ids of the shows in the order of their starts, in parts.
fn parts(shows: &[ReportShow]) -> impl Iterator<Item = Vec<i64>> + use<> {
    let mut starts: Vec<_> = shows.iter().map(|show| (show.start_time, show.id.0)).collect();
    starts.sort_unstable();
    let parts: Vec<Vec<i64>> = starts.chunks(SHOWS_MAX).map(|part| part.iter().map(|(_, id)| *id).collect()).collect();
    parts.into_iter()
}

/// Returns the lowest and the highest id of the bookings of these shows. Without bookings, no id is between both.
async fn bounds(snapshot: &mut Snapshot, shows: &[i64]) -> Result<(i64, i64), StoreError> {
    let rows: Vec<(Option<i64>, Option<i64>)> =
        snapshot.load(bind!(ReadBounds, Array<BigInt> = shows.to_vec())).await?;
    let (first, last) = rows.into_iter().next().unwrap_or_default();
    Ok((first.unwrap_or(i64::MAX), last.unwrap_or(i64::MIN)))
}

async fn shows(snapshot: &mut Snapshot, selection: &ShowSelection) -> Result<Vec<ReportShow>, StoreError> {
    let windows = selection.windows();
    let column = |value: fn(&DayWindow) -> DateTime<Utc>| windows.iter().map(value).collect::<Vec<_>>();
    let rows: Vec<ShowRow> = snapshot
        .load(bind!(
            ReadShows,
            Array<BigInt> = windows.iter().map(|window| window.theatre_id.0).collect::<Vec<_>>(),
            Array<Timestamptz> = column(|window| window.from),
            Array<Timestamptz> = column(|window| window.to),
            Nullable<BigInt> = selection.movie_id.map(|id| id.0),
        ))
        .await?;
    parse_all(rows, |row| {
        Ok(ReportShow {
            id: ShowId(row.id),
            movie_id: MovieId(row.movie_id),
            movie_title: row.movie_title,
            theatre_id: TheatreId(row.theatre_id),
            hall_name: row.hall_name,
            start_time: row.start_time,
            is_cancelled: ShowStatus::parse(&row.status).map_err(bad_row)? == ShowStatus::Cancelled,
            seats_total: row.seats_total.into(),
        })
    })
}

fn tickets(row: TicketsRow) -> Result<SoldTickets, StoreError> {
    Ok(SoldTickets {
        show_id: ShowId(row.show_id),
        status: BookingStatus::parse(&row.status).map_err(bad_row)?,
        channel: row.channel,
        payment_kind: row.payment_kind,
        ticket_type: ticket_type(&row.ticket_type)?,
        currency: currency(&row.currency)?,
        price_minor: row.price_minor,
        tax_rate: row.tax_basis_points.map(tax_rate).transpose()?,
        tickets: row.tickets,
    })
}

fn booked_seat(row: SeatRow) -> Result<BookedSeat, StoreError> {
    Ok(BookedSeat {
        place: BookedSeatPlace {
            show_id: ShowId(row.show_id),
            booking_id: BookingId(row.booking_id),
            position: row.position.into(),
        },
        reference: row.reference,
        status: BookingStatus::parse(&row.status).map_err(bad_row)?,
        channel: row.channel,
        payment_kind: row.payment_kind,
        booked_at: row.booked_at,
        section: row.section,
        row: row.row_label,
        number: row.number.into(),
        category: row.category,
        ticket_type: ticket_type(&row.ticket_type)?,
        currency: currency(&row.currency)?,
        price_minor: row.price_minor,
        tax_rate: row.tax_basis_points.map(tax_rate).transpose()?,
        customer_name: row.customer_name,
        customer_email: row.customer_email,
    })
}
