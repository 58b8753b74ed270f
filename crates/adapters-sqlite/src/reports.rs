//! Reads the ledger for reports.

use async_trait::async_trait;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::StoreError;
use domain::booking::BookingStatus;
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, MovieId, ShowId, TheatreId};
use domain::reports::{
    BookedSeat, BookedSeatPlace, OccupancyReport, ReportShow, ReportStore, RevenueReport, SeatCount, ShowSelection,
    SoldTickets,
};

use crate::catalog::windows_json;
use crate::failure::Failure;
use crate::row::{currency, instant, parsed, tax_rate, ticket_type};
use crate::store::SqliteStore;

const READ_SHOWS: &str = "
    SELECT s.id, s.movie_id, m.title AS movie_title, s.theatre_id, h.name AS hall_name, s.start_time, s.status,
        l.seats_total
    FROM json_each(?1) AS during
    CROSS JOIN shows s ON s.theatre_id = json_extract(during.value, '$[0]')
        AND s.start_time >= json_extract(during.value, '$[1]') AND s.start_time < json_extract(during.value, '$[2]')
    JOIN movies m ON m.id = s.movie_id
    JOIN halls h ON h.id = s.hall_id
    JOIN layouts l ON l.id = s.layout_id
    WHERE ?2 IS NULL OR s.movie_id = ?2
    ORDER BY s.id";
// CROSS JOIN keeps the order of the tables: shows, their bookings, their seats.
const COUNT_SEATS: &str = "
    SELECT b.status, count(*) AS seats
    FROM bookings b CROSS JOIN booking_seats sold ON sold.booking_id = b.id
    WHERE b.show_id = ?1
    GROUP BY b.status";
const COUNT_BLOCKED: &str = "
    SELECT c.show_id, count(*) AS seats FROM seat_claims c
    WHERE c.status = 'blocked' AND c.show_id IN (SELECT value FROM json_each(?1))
    GROUP BY c.show_id";
const SUM_TICKETS: &str = "
    SELECT b.status, b.channel, b.payment_kind, b.currency, b.tax_basis_points, sold.ticket_type, sold.price_minor,
        count(*) AS tickets
    FROM bookings b CROSS JOIN booking_seats sold ON sold.booking_id = b.id
    WHERE b.show_id = ?1
    GROUP BY b.status, b.channel, b.payment_kind, b.currency, b.tax_basis_points, sold.ticket_type, sold.price_minor";
const LIST_BOOKED_SEATS: &str = "
    SELECT b.show_id, b.id AS booking_id, sold.position, b.reference, b.status, b.channel, b.payment_kind,
        b.booked_at, seats.section, seats.row_label, seats.number, sold.category, sold.ticket_type, b.currency,
        sold.price_minor, b.tax_basis_points, u.name AS customer_name, u.email AS customer_email
    FROM json_each(?1) AS wanted
    CROSS JOIN bookings b ON b.show_id = wanted.value
    CROSS JOIN booking_seats sold ON sold.booking_id = b.id
    JOIN seats ON seats.id = sold.seat_id
    JOIN users u ON u.id = b.user_id
    WHERE ?2 IS NULL OR (b.show_id, b.id, sold.position) > (?2, ?3, ?4)
    ORDER BY b.show_id, b.id, sold.position
    LIMIT ?5";

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
    #[diesel(sql_type = BigInt)]
    start_time: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    seats_total: i64,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    seats: i64,
}

#[derive(QueryableByName)]
struct BlockedRow {
    #[diesel(sql_type = BigInt)]
    show_id: i64,
    #[diesel(sql_type = BigInt)]
    seats: i64,
}

#[derive(QueryableByName)]
struct TicketsRow {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    payment_kind: Option<String>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    tax_basis_points: Option<i64>,
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
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Text)]
    reference: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    payment_kind: Option<String>,
    #[diesel(sql_type = BigInt)]
    booked_at: i64,
    #[diesel(sql_type = Text)]
    section: String,
    #[diesel(sql_type = Text)]
    row_label: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Text)]
    category: String,
    #[diesel(sql_type = Text)]
    ticket_type: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    price_minor: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    tax_basis_points: Option<i64>,
    #[diesel(sql_type = Text)]
    customer_name: String,
    #[diesel(sql_type = Text)]
    customer_email: String,
}

#[async_trait]
impl ReportStore for SqliteStore {
    async fn occupancy(&self, mut report: OccupancyReport) -> Result<OccupancyReport, StoreError> {
        let added = self.read(move |connection| {
            enlarge_cache(connection)?;
            let shows = shows(connection, report.selection())?;
            for show in &shows {
                report.show(show);
                let counts: Vec<CountRow> =
                    diesel::sql_query(COUNT_SEATS).bind::<BigInt, _>(show.id.0).load(connection)?;
                for CountRow { status, seats } in counts {
                    let status = parsed(BookingStatus::parse(&status), "status")?;
                    report.booked(&SeatCount { show_id: show.id, status, seats });
                }
            }
            let ids = ids_json(shows.iter().map(|show| show.id));
            let blocked: Vec<BlockedRow> = diesel::sql_query(COUNT_BLOCKED).bind::<Text, _>(ids).load(connection)?;
            blocked.iter().for_each(|row| report.blocked(ShowId(row.show_id), row.seats));
            reset_cache(connection)?;
            Ok(report)
        });
        Ok(added.await?)
    }

    async fn revenue(&self, mut report: RevenueReport) -> Result<RevenueReport, StoreError> {
        let added = self.read(move |connection| {
            enlarge_cache(connection)?;
            for show in shows(connection, report.selection())? {
                let show_id = show.id;
                report.show(show);
                let rows: Vec<TicketsRow> =
                    diesel::sql_query(SUM_TICKETS).bind::<BigInt, _>(show_id.0).load(connection)?;
                for row in rows {
                    report.tickets(&tickets(show_id, row)?);
                }
            }
            reset_cache(connection)?;
            Ok(report)
        });
        Ok(added.await?)
    }

    async fn report_shows(&self, selection: &ShowSelection) -> Result<Vec<ReportShow>, StoreError> {
        let selection = selection.clone();
        Ok(self.read(move |connection| shows(connection, &selection)).await?)
    }

    async fn booked_seats(
        &self,
        shows: &[ShowId],
        after: Option<BookedSeatPlace>,
        limit: i64,
    ) -> Result<Vec<BookedSeat>, StoreError> {
        let query = diesel::sql_query(LIST_BOOKED_SEATS)
            .bind::<Text, _>(ids_json(shows.iter().copied()))
            .bind::<Nullable<BigInt>, _>(after.map(|place| place.show_id.0))
            .bind::<Nullable<BigInt>, _>(after.map(|place| place.booking_id.0))
            .bind::<Nullable<BigInt>, _>(after.map(|place| place.position))
            .bind::<BigInt, _>(limit);
        let seats = self.read(move |connection| {
            let rows: Vec<SeatRow> = query.load(connection)?;
            rows.into_iter().map(booked_seat).collect()
        });
        Ok(seats.await?)
    }
}

/// Enlarges the page cache for a report, to 64 MB: the lookups of a month's seats return to the same pages. With the default of 2 MB, a report
/// takes a third longer.
fn enlarge_cache(connection: &mut SqliteConnection) -> Result<(), Failure> {
    Ok(connection.batch_execute("PRAGMA cache_size = -64000")?)
}

/// Returns the memory. A connection whose report failed keeps the larger limit until its next report.
fn reset_cache(connection: &mut SqliteConnection) -> Result<(), Failure> {
    Ok(connection.batch_execute("PRAGMA cache_size = -2000")?)
}

/// Returns ids as a JSON array.
fn ids_json(ids: impl Iterator<Item = ShowId>) -> String {
    let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
    format!("[{}]", ids.join(","))
}

fn shows(connection: &mut SqliteConnection, selection: &ShowSelection) -> Result<Vec<ReportShow>, Failure> {
    let rows: Vec<ShowRow> = diesel::sql_query(READ_SHOWS)
        .bind::<Text, _>(windows_json(&selection.windows()))
        .bind::<Nullable<BigInt>, _>(selection.movie_id.map(|id| id.0))
        .load(connection)?;
    let show = |row: ShowRow| {
        Ok(ReportShow {
            id: ShowId(row.id),
            movie_id: MovieId(row.movie_id),
            movie_title: row.movie_title,
            theatre_id: TheatreId(row.theatre_id),
            hall_name: row.hall_name,
            start_time: instant(row.start_time, "start_time")?,
            is_cancelled: parsed(ShowStatus::parse(&row.status), "status")? == ShowStatus::Cancelled,
            seats_total: row.seats_total,
        })
    };
    rows.into_iter().map(show).collect()
}

fn tickets(show_id: ShowId, row: TicketsRow) -> Result<SoldTickets, Failure> {
    Ok(SoldTickets {
        show_id,
        status: parsed(BookingStatus::parse(&row.status), "status")?,
        channel: row.channel,
        payment_kind: row.payment_kind,
        ticket_type: ticket_type(&row.ticket_type)?,
        currency: currency(&row.currency)?,
        price_minor: row.price_minor,
        tax_rate: row.tax_basis_points.map(tax_rate).transpose()?,
        tickets: row.tickets,
    })
}

fn booked_seat(row: SeatRow) -> Result<BookedSeat, Failure> {
    Ok(BookedSeat {
        place: BookedSeatPlace {
            show_id: ShowId(row.show_id),
            booking_id: BookingId(row.booking_id),
            position: row.position,
        },
        reference: row.reference,
        status: parsed(BookingStatus::parse(&row.status), "status")?,
        channel: row.channel,
        payment_kind: row.payment_kind,
        booked_at: instant(row.booked_at, "booked_at")?,
        section: row.section,
        row: row.row_label,
        number: row.number,
        category: row.category,
        ticket_type: ticket_type(&row.ticket_type)?,
        currency: currency(&row.currency)?,
        price_minor: row.price_minor,
        tax_rate: row.tax_basis_points.map(tax_rate).transpose()?,
        customer_name: row.customer_name,
        customer_email: row.customer_email,
    })
}
