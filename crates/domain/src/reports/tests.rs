use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::admin::StaffMember;
use crate::booking::BookingStatus;
use crate::catalog::{MockCatalogStore, Theatre};
use crate::identity::Role;
use crate::ids::{BookingId, MovieId, ShowId, TheatreId};
use crate::money::{Currency, TaxRate};
use crate::pricing::{TicketTypeCode, tax_included};

fn theatre(id: i64, timezone: chrono_tz::Tz) -> Theatre {
    Theatre {
        id: TheatreId(id),
        name: format!("Theatre {id}"),
        location: String::new(),
        timezone,
        currency: Currency::parse("EUR").unwrap(),
        tax_rate: TaxRate::parse("19").unwrap(),
        cleaning_minutes: 15,
        retired_at: None,
        version: 1,
        halls: Vec::new(),
    }
}

fn theatres() -> Vec<Theatre> {
    vec![theatre(1, chrono_tz::Europe::Berlin), theatre(2, chrono_tz::Asia::Tokyo)]
}

fn query(from: &str, to: &str) -> ReportQuery {
    ReportQuery { from: from.parse().unwrap(), to: to.parse().unwrap(), theatre_id: None, movie_id: None }
}

fn selection() -> ShowSelection {
    ShowSelection::new(&query("2026-12-01", "2026-12-31"), theatres())
}

fn show(id: i64, theatre: i64, start: &str) -> ReportShow {
    ReportShow {
        id: ShowId(id),
        movie_id: MovieId(id % 2),
        movie_title: format!("Movie {}", id % 2),
        theatre_id: TheatreId(theatre),
        hall_name: "Main".into(),
        start_time: start.parse().unwrap(),
        is_cancelled: false,
        seats_total: 10,
    }
}

fn sold(show: i64, price_minor: i64, tickets: i64) -> SoldTickets {
    SoldTickets {
        show_id: ShowId(show),
        status: BookingStatus::Confirmed,
        channel: "online".into(),
        payment_kind: None,
        ticket_type: TicketTypeCode::parse("adult").unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        price_minor,
        tax_rate: None,
        tickets,
    }
}

#[test]
fn only_confirmed_bookings_are_sold() {
    let of = |counts: fn(BookingStatus) -> bool| BookingStatus::ALL.into_iter().filter(move |status| counts(*status));
    assert_eq!(of(counts_as_sold).collect::<Vec<_>>(), [BookingStatus::Confirmed]);
    assert_eq!(of(counts_as_cancelled).collect::<Vec<_>>(), [BookingStatus::Cancelled, BookingStatus::Refunded]);
}

#[test]
fn windows_are_the_days_of_each_theatre() {
    let windows: Vec<_> = selection().windows().iter().map(|w| (w.from.to_rfc3339(), w.to.to_rfc3339())).collect();
    assert_eq!(windows[0], ("2026-11-30T23:00:00+00:00".into(), "2026-12-31T23:00:00+00:00".into()));
    assert_eq!(windows[1], ("2026-11-30T15:00:00+00:00".into(), "2026-12-31T15:00:00+00:00".into()));
}

#[test]
fn a_show_belongs_to_the_day_of_its_theatre() {
    let mut report = OccupancyReport::new(selection(), Dimension::Day);
    // 2026-12-05 00:30 in Berlin, and 08:30 in Tokyo.
    report.show(&show(1, 1, "2026-12-04T23:30:00Z"));
    report.show(&show(2, 2, "2026-12-04T23:30:00Z"));
    report.show(&show(3, 1, "2026-12-04T22:30:00Z"));
    report.show(&ReportShow { is_cancelled: true, ..show(4, 1, "2026-12-04T22:30:00Z") });
    report.show(&show(5, 3, "2026-12-04T22:30:00Z"));
    let (rows, total) = report.finish();
    let shows: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.occupancy.shows)).collect();
    let day = |text: &str| RowName::Day(text.parse().unwrap());
    assert_eq!(shows, [(day("2026-12-04"), 1), (day("2026-12-05"), 2)]);
    assert_eq!((total.shows, total.seats), (3, 30));
}

#[test]
fn occupancy_counts_sold_and_blocked_seats() {
    let mut report = OccupancyReport::new(selection(), Dimension::Show);
    report.show(&show(1, 1, "2026-12-04T20:00:00Z"));
    for (status, seats) in [
        (BookingStatus::Confirmed, 3),
        (BookingStatus::Cancelled, 4),
        (BookingStatus::PendingPayment, 1),
        (BookingStatus::Refunded, 1),
        (BookingStatus::Expired, 1),
    ] {
        report.booked(&SeatCount { show_id: ShowId(1), status, seats });
    }
    report.blocked(ShowId(1), 2);
    report.blocked(ShowId(9), 2);
    let (_, total) = report.finish();
    assert_eq!(total, Occupancy { shows: 1, seats: 10, sold: 3, blocked: 2 });
    assert_eq!((total.free(), total.basis_points()), (5, 3_000));
    assert_eq!(Occupancy { shows: 1, seats: 3, sold: 1, blocked: 0 }.basis_points(), 3_333);
    assert_eq!(Occupancy { shows: 1, seats: 3, sold: 2, blocked: 0 }.basis_points(), 6_667);
    assert_eq!(Occupancy::default().basis_points(), 0);
}

#[test]
fn tax_is_that_of_the_sale_or_else_the_present_one() {
    let rate = |text: &str| TaxRate::parse(text).unwrap();
    assert_eq!(sold(1, 1190, 3).gross_and_tax(rate("19")), (3570, 570));
    let frozen = SoldTickets { tax_rate: Some(rate("0")), ..sold(1, 1190, 3) };
    assert_eq!(frozen.gross_and_tax(rate("19")), (3570, 0));
    let free = SoldTickets { payment_kind: Some("complimentary".into()), ..sold(1, 1190, 3) };
    assert_eq!(free.gross_and_tax(rate("19")), (0, 0));
    let cash = SoldTickets { payment_kind: Some("cash".into()), ..sold(1, 1190, 1) };
    assert_eq!(cash.gross_and_tax(rate("19")), (1190, 190));
}

#[test]
fn complimentary_tickets_count_with_nothing() {
    let mut report = RevenueReport::new(selection(), Dimension::Channel);
    report.show(show(1, 1, "2026-12-04T20:00:00Z"));
    report.tickets(&SoldTickets { payment_kind: Some("complimentary".into()), ..sold(1, 1000, 2) });
    report.tickets(&SoldTickets { channel: "box_office".into(), ..sold(1, 1000, 1) });
    let (rows, _) = report.finish();
    let found: Vec<_> = rows.iter().map(|row| (row.revenue.tickets, row.revenue.gross_minor)).collect();
    assert_eq!(found, [(1, 1000), (2, 0)]);
}

fn tickets() -> impl Strategy<Value = SoldTickets> {
    let status = prop::sample::select(BookingStatus::ALL.to_vec());
    let kind = prop::sample::select(vec![None, Some("cash"), Some("complimentary")]);
    let rate = prop::option::of(0_i32..=5_000);
    let names = (prop::sample::select(vec!["EUR", "JPY"]), prop::sample::select(vec!["adult", "child"]));
    (1_i64..=6, status, kind, names, 0_i64..100_000, rate, 1_i64..20, any::<bool>()).prop_map(
        |(show_id, status, kind, (currency, code), price_minor, rate, tickets, is_online)| SoldTickets {
            show_id: ShowId(show_id),
            status,
            channel: if is_online { "online" } else { "box_office" }.into(),
            payment_kind: kind.map(str::to_owned),
            ticket_type: TicketTypeCode::parse(code).unwrap(),
            currency: Currency::parse(currency).unwrap(),
            price_minor,
            tax_rate: rate.map(|points| TaxRate::from_basis_points(points).unwrap()),
            tickets,
        },
    )
}

proptest! {
    /// Each ticket on its own, added by currency, is the total, and so are the rows of every dimension.
    #[test]
    fn rows_and_totals_equal_the_sum_of_single_tickets(all in prop::collection::vec(tickets(), 0..40)) {
        let mut expected: BTreeMap<Currency, (i64, i64, i64, i64)> = BTreeMap::new();
        for group in all.iter().filter(|group| group.show_id.0 <= 4) {
            let rate = group.tax_rate.map_or(1900, TaxRate::basis_points);
            for _ in 0..group.tickets {
                let price = if group.payment_kind.as_deref() == Some("complimentary") { 0 } else { group.price_minor };
                match group.status {
                    BookingStatus::Confirmed => {
                        let sum = expected.entry(group.currency).or_default();
                        let tax = tax_included(price, u32::try_from(rate).unwrap());
                        *sum = (sum.0 + 1, sum.1, sum.2 + price, sum.3 + tax);
                    }
                    BookingStatus::Cancelled | BookingStatus::Refunded => {
                        expected.entry(group.currency).or_default().1 += 1;
                    }
                    BookingStatus::PendingPayment | BookingStatus::Expired => {}
                }
            }
        }
        for dimension in Dimension::ALL {
            let mut report = RevenueReport::new(selection(), dimension);
            for id in 1..=4 {
                report.show(show(id, 1 + id % 2, "2026-12-04T20:00:00Z"));
            }
            all.iter().for_each(|group| report.tickets(group));
            let (rows, totals) = report.finish();
            let quadruple = |r: &Revenue| (r.tickets, r.cancelled_tickets, r.gross_minor, r.tax_minor);
            let totals: BTreeMap<_, _> = totals.iter().map(|(currency, sum)| (*currency, quadruple(sum))).collect();
            prop_assert_eq!(&totals, &expected);
            let mut of_rows: BTreeMap<Currency, (i64, i64, i64, i64)> = BTreeMap::new();
            for row in &rows {
                let (sum, r) = (of_rows.entry(row.currency).or_default(), quadruple(&row.revenue));
                *sum = (sum.0 + r.0, sum.1 + r.1, sum.2 + r.2, sum.3 + r.3);
                prop_assert_eq!(row.revenue.net_minor() + row.revenue.tax_minor, row.revenue.gross_minor);
            }
            prop_assert_eq!(&of_rows, &expected);
            prop_assert!(rows.windows(2).all(|pair| (&pair[0].name, pair[0].currency) < (&pair[1].name, pair[1].currency)));
        }
    }
}

fn admin() -> StaffMember {
    StaffMember { role: Role::Admin, theatres: [].into() }
}

fn service(reports: MockReportStore) -> ReportService {
    let mut catalog = MockCatalogStore::new();
    catalog.expect_theatres().returning(|_, _| Ok(theatres()));
    catalog.expect_theatre().returning(|id| Ok(theatres().into_iter().find(|theatre| theatre.id == id)));
    catalog.expect_movie().returning(|_| Ok(None));
    ReportService { reports: Arc::new(reports), catalog: Arc::new(catalog) }
}

#[test]
fn invalid_intervals_and_unknown_objects_are_refused() {
    let service = service(MockReportStore::new());
    let refused = |member: &StaffMember, query: ReportQuery| {
        block_on(service.occupancy(member, &query, Dimension::Show)).unwrap_err().to_string()
    };
    assert_eq!(refused(&admin(), query("2026-01-02", "2026-01-01")), "the last day is before the first");
    assert_eq!(
        refused(&admin(), query("2026-01-01", "2027-02-05")),
        "a report covers at most 400 days; this interval has 401"
    );
    let day = query("2026-01-01", "2026-01-01");
    assert_eq!(refused(&admin(), ReportQuery { theatre_id: Some(TheatreId(9)), ..day }), "the theatre does not exist");
    assert_eq!(refused(&admin(), ReportQuery { movie_id: Some(MovieId(9)), ..day }), "the movie does not exist");
    let staff = StaffMember { role: Role::Staff, theatres: [TheatreId(2)].into() };
    assert_eq!(
        refused(&staff, ReportQuery { theatre_id: Some(TheatreId(1)), ..day }),
        "the member of staff does not work for this theatre"
    );
}

#[test]
fn reports_are_limited_to_the_theatres_of_the_member() {
    for (member, expected) in [
        (admin(), vec![TheatreId(1), TheatreId(2)]),
        (StaffMember { role: Role::Staff, theatres: [TheatreId(2)].into() }, vec![TheatreId(2)]),
        (StaffMember { role: Role::Staff, theatres: [].into() }, vec![]),
    ] {
        let mut reports = MockReportStore::new();
        reports.expect_occupancy().returning(move |report| {
            let found: Vec<_> = report.selection().windows().iter().map(|window| window.theatre_id).collect();
            assert_eq!(found, expected);
            Ok(report)
        });
        block_on(service(reports).occupancy(&member, &query("2026-01-01", "2027-02-04"), Dimension::Day)).unwrap();
    }
}

#[test]
fn a_report_of_too_many_rows_is_refused() {
    let fill = |shows: i64| {
        let mut reports = MockReportStore::new();
        reports.expect_occupancy().returning(move |mut report| {
            (0..shows).for_each(|id| report.show(&show(id, 1, "2026-12-04T20:00:00Z")));
            Ok(report)
        });
        block_on(service(reports).occupancy(&admin(), &query("2026-12-01", "2026-12-31"), Dimension::Show))
    };
    assert_eq!(fill(10_000).unwrap().0.len(), 10_000);
    assert_eq!(fill(10_001).unwrap_err().to_string(), "the report has 10001 rows; at most 10000 are possible");
}

fn seat(show_id: i64, booking_id: i64) -> BookedSeat {
    BookedSeat {
        place: BookedSeatPlace { show_id: ShowId(show_id), booking_id: BookingId(booking_id), position: 0 },
        reference: "0123456789".into(),
        status: BookingStatus::Confirmed,
        channel: "online".into(),
        payment_kind: None,
        booked_at: DateTime::<Utc>::UNIX_EPOCH,
        section: String::new(),
        row: "A".into(),
        number: 1,
        category: "standard".into(),
        ticket_type: TicketTypeCode::parse("adult").unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        price_minor: 1190,
        tax_rate: None,
        customer_name: "Ana".into(),
        customer_email: "ana@example.org".into(),
    }
}

#[test]
fn booked_seats_are_read_completely_and_once() {
    // Some shows have no seats, some less than a part, and some several parts.
    let seats_of = |show: i64| match show % 20 {
        0 => 4_500,
        1 => 2_000,
        2..6 => 7,
        _ => 0,
    };
    let all: Vec<BookedSeatPlace> =
        (1..=60).flat_map(|show| (0..seats_of(show)).map(move |booking| seat(show, booking).place)).collect();
    let (mut reports, stored) = (MockReportStore::new(), all.clone());
    reports.expect_report_shows().returning(|_| Ok((1..=60).map(|id| show(id, 1, "2026-12-04T20:00:00Z")).collect()));
    reports.expect_booked_seats().returning(move |shows, after, limit| {
        let wanted =
            stored.iter().filter(|place| shows.contains(&place.show_id) && after.is_none_or(|it| **place > it));
        let wanted = wanted.take(usize::try_from(limit).unwrap());
        Ok(wanted.map(|place| seat(place.show_id.0, place.booking_id.0)).collect())
    });
    let query = query("2026-12-01", "2026-12-31");
    let mut seats = block_on(service(reports).booked_seats(&admin(), &query)).unwrap();
    let mut found = Vec::new();
    while let Some(part) = block_on(seats.next()).unwrap() {
        assert!((1..=2_000).contains(&part.len()));
        assert_eq!((part[0].gross_minor, part[0].tax_minor), (1190, 190));
        assert_eq!(part[0].start_time.to_rfc3339(), "2026-12-04T21:00:00+01:00");
        found.extend(part.into_iter().map(|line| line.seat.place));
    }
    assert_eq!(found, all);
}
