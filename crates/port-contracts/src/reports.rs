//! Cases of the port of reports: each report equals a naive recomputation over the rows of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use domain::StoreError;
use domain::booking::{Action, BookingStatus, ShowBooking};
use domain::catalog::all_theatres;
use domain::ids::{BookingId, MovieId, ShowId, TheatreId};
use domain::money::TaxRate;
use domain::pricing::tax_included;
use domain::reports::{
    BookedSeatPlace, Dimension, OccupancyReport, ReportQuery, RevenueReport, RowName, ShowSelection,
    counts_as_cancelled, counts_as_sold,
};

use crate::Fixture;
use crate::tools::{SIMPLE, UniqueRandom, book, booked, command, selection, sell};
use crate::world::{World, block, cancel_show, customer};

/// A seat of a booking as it was inserted.
#[derive(Clone, Debug)]
struct Row {
    show: ShowId,
    place: BookedSeatPlace,
    status: BookingStatus,
    channel: &'static str,
    payment_kind: Option<&'static str>,
    ticket_type: &'static str,
    currency: &'static str,
    price: i64,
    rate: Option<i64>,
}

/// A random source of small numbers.
struct Dice(UniqueRandom, u64);

impl Dice {
    /// Returns a number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        use domain::random::Random as _;
        // The bytes are a counter, so they are mixed (splitmix64).
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let low = bytes.iter().fold(0_u64, |number, byte| (number << 5) | u64::from(*byte));
        self.1 = self.1.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_add(low);
        let mut mixed = self.1;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Inserts bookings with random contents, and returns their seats in the order of the list.
async fn random_bookings(fixture: &dyn Fixture, world: &World, bookings: usize) -> Vec<Row> {
    let owner = customer(fixture).await.user_id;
    let mut dice = Dice(UniqueRandom::new(), 0);
    let (main, small, beta) = (&world.main, &world.small, &world.beta);
    let shows = [
        (world.started, main),
        (world.soon, main),
        (world.beside, small),
        (world.tomorrow, small),
        (world.later, beta),
        (world.yesterday, beta),
    ];
    let (mut rows, mut stored, mut sold) = (Vec::new(), Vec::new(), Vec::new());
    for id in 1..=bookings {
        let (show, seats) = dice.pick(&shows);
        let status = dice.pick(&BookingStatus::ALL);
        let (channel, payment_kind) =
            dice.pick(&[("online", None), ("box_office", Some("cash")), ("box_office", Some("complimentary"))]);
        let currency = dice.pick(&["EUR", "EUR", "JPY"]);
        let rate = dice.pick(&[None, Some(0), Some(700), Some(1_900)]);
        let at = fixture.instant(-3_600);
        let is_cancelled = matches!(status, BookingStatus::Cancelled | BookingStatus::Refunded);
        let cancelled_at = if is_cancelled { at.as_str() } else { "NULL" };
        let kind = payment_kind.map_or("NULL".to_owned(), |kind| format!("'{kind}'"));
        let points = rate.map_or("NULL".to_owned(), |rate| rate.to_string());
        let text = status.as_str();
        stored.push(format!(
            "({id}, '{id:0>10}', {owner}, {show}, '{text}', '{currency}', {at}, {cancelled_at}, '{channel}', {kind}, {points})"
        ));
        for (position, seat) in seats.iter().enumerate().take(1 + dice.roll(4)) {
            let (ticket_type, price) = (dice.pick(&["adult", "child"]), dice.pick(&[0, 1, 333, 1_250, 1_190]));
            sold.push(format!("({id}, {}, {position}, 'standard', {price}, '{ticket_type}')", seat.id));
            let booking_id = BookingId(i64::try_from(id).unwrap());
            let place = BookedSeatPlace { show_id: show, booking_id, position: i64::try_from(position).unwrap() };
            rows.push(Row { show, place, status, channel, payment_kind, ticket_type, currency, price, rate });
        }
    }
    let columns = "id, reference, user_id, show_id, status, currency, booked_at, cancelled_at, channel, payment_kind, tax_basis_points";
    fixture.execute(&format!("INSERT INTO bookings ({columns}) VALUES {}", stored.join(", "))).await;
    let columns = "booking_id, seat_id, position, category, price_minor, ticket_type";
    fixture.execute(&format!("INSERT INTO booking_seats ({columns}) VALUES {}", sold.join(", "))).await;
    rows.sort_by_key(|row| row.place);
    rows
}

/// Returns a query for all shows of the world.
fn all_days(world: &World) -> ReportQuery {
    let today = world.base.date_naive();
    let away = |days: u64, sooner: bool| -> NaiveDate {
        if sooner { today.checked_sub_days(Days::new(days)) } else { today.checked_add_days(Days::new(days)) }.unwrap()
    };
    ReportQuery { from: away(10, true), to: away(10, false), theatre_id: None, movie_id: None }
}

async fn select(fixture: &dyn Fixture, query: &ReportQuery) -> ShowSelection {
    ShowSelection::new(query, all_theatres(fixture.stores().catalog.as_ref()).await.unwrap())
}

async fn number(fixture: &dyn Fixture, column: &str, show: ShowId) -> i64 {
    fixture.count(&format!("SELECT {column} FROM shows WHERE id = {show}")).await
}

/// The revenue of every dimension is the sum over single tickets, for each currency, and so are the totals.
pub async fn revenue_equals_the_ledger(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let all = random_bookings(fixture, &world, 150).await;
    cancel_show(fixture, world.beside).await;
    let query = all_days(&world);
    for dimension in [Dimension::Show, Dimension::Movie, Dimension::Theatre, Dimension::TicketType, Dimension::Channel]
    {
        let mut expected: BTreeMap<(String, String), [i64; 4]> = BTreeMap::new();
        for row in all.iter().filter(|row| counts_as_sold(row.status) || counts_as_cancelled(row.status)) {
            let name = match dimension {
                Dimension::Show => row.show.to_string(),
                Dimension::Movie => number(fixture, "movie_id", row.show).await.to_string(),
                Dimension::Theatre => number(fixture, "theatre_id", row.show).await.to_string(),
                Dimension::TicketType => row.ticket_type.to_owned(),
                _ => row.channel.to_owned(),
            };
            let sum = expected.entry((name, row.currency.to_owned())).or_default();
            if counts_as_sold(row.status) {
                let gross = if row.payment_kind == Some("complimentary") { 0 } else { row.price };
                // The theatres of the world have a rate of 7 %.
                let tax = tax_included(gross, u32::try_from(row.rate.unwrap_or(700)).unwrap());
                *sum = [sum[0] + 1, sum[1], sum[2] + gross, sum[3] + tax];
            } else {
                sum[1] += 1;
            }
        }
        let report = RevenueReport::new(select(fixture, &query).await, dimension);
        let (rows, totals) = fixture.stores().reports.revenue(report).await.unwrap().finish();
        let found: BTreeMap<_, _> = rows
            .iter()
            .map(|row| {
                let name = match &row.name {
                    RowName::Show { id, .. } => id.to_string(),
                    RowName::Movie { id, .. } => id.to_string(),
                    RowName::Theatre { id, .. } => id.to_string(),
                    RowName::TicketType(name) | RowName::Channel(name) => name.clone(),
                    RowName::Day(day) => day.to_string(),
                };
                let revenue = row.revenue;
                let figures = [revenue.tickets, revenue.cancelled_tickets, revenue.gross_minor, revenue.tax_minor];
                ((name, row.currency.code().to_owned()), figures)
            })
            .collect();
        assert_eq!((found.len(), &found), (rows.len(), &expected), "{dimension:?}");
        for (currency, total) in totals {
            let of_currency = expected.iter().filter(|((_, code), _)| code == currency.code());
            let sum = of_currency.fold([0; 4], |sum, (_, row)| [0, 1, 2, 3].map(|at| sum[at] + row[at]));
            assert_eq!([total.tickets, total.cancelled_tickets, total.gross_minor, total.tax_minor], sum);
        }
    }
}

/// Occupancy counts the sold and the blocked seats of shows that are not cancelled.
pub async fn occupancy_equals_the_ledger(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let all = random_bookings(fixture, &world, 100).await;
    for seat in &world.main[50..53] {
        block(fixture, world.soon, seat.id).await;
    }
    cancel_show(fixture, world.beside).await;
    let report = OccupancyReport::new(select(fixture, &all_days(&world)).await, Dimension::Show);
    let (rows, total) = fixture.stores().reports.occupancy(report).await.unwrap().finish();
    assert_eq!(rows.len(), 5);
    for row in &rows {
        let RowName::Show { id, .. } = &row.name else { panic!("{row:?}") };
        let sold = all.iter().filter(|seat| seat.show == *id && counts_as_sold(seat.status)).count();
        assert_eq!(usize::try_from(row.occupancy.sold).unwrap(), sold, "{row:?}");
        assert_eq!(row.occupancy.blocked, if *id == world.soon { 3 } else { 0 });
        assert_eq!(row.occupancy.seats, if *id == world.tomorrow { 5 } else { 60 });
        assert_ne!(*id, world.beside);
    }
    let sold = all.iter().filter(|seat| seat.show != world.beside && counts_as_sold(seat.status)).count();
    assert_eq!((usize::try_from(total.sold).unwrap(), total.seats, total.blocked), (sold, 245, 3));
}

/// Booked seats are listed once each, in order, in parts of every size, with all their fields.
pub async fn booked_seats_are_listed_in_order(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let all = random_bookings(fixture, &world, 40).await;
    let reports = &fixture.stores().reports;
    let shows = reports.report_shows(&select(fixture, &all_days(&world)).await).await.unwrap();
    let ids: Vec<_> = shows.iter().map(|show| show.id).collect();
    assert!(ids.is_sorted() && ids.len() == 6, "{ids:?}");
    for limit in [1, 7, 1_000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let part = reports.booked_seats(&ids, after, limit).await.unwrap();
            assert!(part.len() <= usize::try_from(limit).unwrap());
            let Some(last) = part.last() else { break };
            after = Some(last.place);
            found.extend(part);
        }
        assert_eq!(found.len(), all.len());
        for (seat, row) in found.iter().zip(&all) {
            assert_eq!((seat.place, seat.status, seat.price_minor), (row.place, row.status, row.price));
            assert_eq!((seat.channel.as_str(), seat.payment_kind.as_deref()), (row.channel, row.payment_kind));
            assert_eq!((seat.ticket_type.as_str(), seat.currency.code()), (row.ticket_type, row.currency));
            assert_eq!(seat.tax_rate.map(|rate| i64::from(rate.basis_points())), row.rate);
            assert_eq!((seat.row.as_str(), seat.number), ("A", row.place.position + 1));
            assert_eq!((seat.customer_name.as_str(), seat.category.as_str()), ("Ana Núñez", "standard"));
            assert_eq!(seat.reference, format!("{:0>10}", row.place.booking_id.0));
        }
    }
    let one = reports.booked_seats(&ids[..1], None, 1_000).await.unwrap();
    assert_eq!(one.len(), all.iter().filter(|row| row.show == ids[0]).count());
    assert_eq!(reports.booked_seats(&[], None, 1_000).await.unwrap(), []);
}

/// A selection has the shows of its theatres, days and movie alone.
pub async fn reports_are_limited_to_their_shows(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let theatres = all_theatres(fixture.stores().catalog.as_ref()).await.unwrap();
    let query = all_days(&world);
    let shows = async |selection: ShowSelection| -> BTreeSet<ShowId> {
        let shows = fixture.stores().reports.report_shows(&selection).await.unwrap();
        shows.into_iter().map(|show| show.id).collect()
    };
    let beta: Vec<_> = theatres.iter().filter(|theatre| theatre.name == "Beta").cloned().collect();
    assert_eq!(shows(ShowSelection::new(&query, beta)).await, [world.later, world.yesterday].into());
    assert_eq!(shows(ShowSelection::new(&query, Vec::new())).await, [].into());
    let movie = MovieId(number(fixture, "movie_id", world.soon).await);
    let of_movie = ShowSelection::new(&ReportQuery { movie_id: Some(movie), ..query }, theatres.clone());
    assert_eq!(shows(of_movie).await, [world.started, world.soon, world.later].into());
    // The day of a show is that of its theatre.
    let theatre = TheatreId(number(fixture, "theatre_id", world.later).await);
    let zone = theatres.iter().find(|found| found.id == theatre).unwrap().timezone;
    let start = world.base + chrono::TimeDelta::hours(100);
    let day = start.with_timezone(&zone).date_naive();
    let on = |day| ShowSelection::new(&ReportQuery { from: day, to: day, ..query }, theatres.clone());
    assert!(shows(on(day)).await.contains(&world.later));
    assert!(!shows(on(day.succ_opt().unwrap())).await.contains(&world.later));
    assert!(!shows(on(day.pred_opt().unwrap())).await.contains(&world.later));
}

/// A booking keeps the tax rate of its sale, and one without a rate has that of its theatre.
pub async fn tax_rate_is_that_of_the_sale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let rate = |text: &str| TaxRate::parse(text).unwrap();
    let (first, second) = sell(fixture.stores(), SIMPLE, async |sellers| {
        let book_one = async |seat: usize, key: &str| {
            booked(&sellers.submit(book(ana, world.soon, &[world.main[seat].id], key)).await).0
        };
        let first = book_one(0, "a").await;
        fixture.execute("UPDATE theatres SET tax_basis_points = 1900").await;
        let second = book_one(1, "b").await;
        let other = ShowBooking { show_id: world.soon, booking_id: first };
        let seats = selection(&[world.main[5].id]);
        sellers.submit(command(ana, Action::Change(other, seats), "c")).await.unwrap();
        (first, second)
    })
    .await;
    let read = async |id| {
        let own = fixture.stores().bookings.booking(ana.user_id, id).await.unwrap().unwrap();
        let of_staff = fixture.stores().staff_bookings.staff_booking(id).await.unwrap().unwrap();
        assert_eq!(own, of_staff.booking);
        (own.tax_rate, own.tax().minor)
    };
    assert_eq!(read(first).await, (rate("7"), 82));
    assert_eq!(read(second).await, (rate("19"), 200));
    fixture.execute(&format!("UPDATE bookings SET tax_basis_points = NULL WHERE id = {first}")).await;
    assert_eq!(read(first).await, (rate("19"), 200));
}

/// A row that cannot be read fails the report, which would be wrong without it.
pub async fn invalid_row_fails_its_report(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    random_bookings(fixture, &world, 20).await;
    fixture.execute("UPDATE booking_seats SET ticket_type = 'Not A Code'").await;
    let report = RevenueReport::new(select(fixture, &all_days(&world)).await, Dimension::Show);
    let failed = fixture.stores().reports.revenue(report).await.map(drop);
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
}

/// Every method of the port reports an unreachable store.
pub async fn reports_report_an_unreachable_store(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let selection = select(fixture, &all_days(&world)).await;
    fixture.break_backend().await;
    let unavailable = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    };
    let reports = &fixture.stores().reports;
    unavailable(reports.occupancy(OccupancyReport::new(selection.clone(), Dimension::Day)).await.map(drop));
    unavailable(reports.revenue(RevenueReport::new(selection.clone(), Dimension::Day)).await.map(drop));
    unavailable(reports.report_shows(&selection).await.map(drop));
    unavailable(reports.booked_seats(&[world.soon], None, 1).await.map(drop));
}
