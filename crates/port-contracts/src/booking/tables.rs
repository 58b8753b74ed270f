//! The rows that commands leave, compared table by table with one list for every store.

use domain::booking::{Action, BookSeats, CorrectedSeats, HoldSeats, PaymentKind, ShowBooking, WantedSeats};

use crate::Fixture;
use crate::counter::{act, house, sale};
use crate::tools::{SIMPLE, booked, command, held, selection, sell, tickets};
use crate::world::{World, customers, sell_to};

/// The tables with the columns to compare. Instants are compared with other instants of the row. Users, bookings and holds are numbered
/// from 0 in the order of their creation, and a seat is given by its row and number.
const TABLES: [(&str, &str, &[&str]); 10] = [
    (
        "bookings",
        "bookings AS b",
        &[
            "(SELECT count(*) FROM users WHERE id < b.user_id)",
            "b.status",
            "b.currency",
            "b.tax_basis_points",
            "CASE WHEN b.cancelled_at IS NULL THEN 'kept' WHEN b.cancelled_at > b.booked_at THEN 'cancelled later' ELSE 'wrong' END",
            "CASE WHEN b.counts_as_cancellation THEN 'counts' ELSE 'does not count' END",
            "length(b.reference)",
            "b.channel",
            "b.payment_kind",
        ],
    ),
    (
        "booking_seats",
        "booking_seats AS t JOIN seats ON seats.id = t.seat_id",
        &[
            "(SELECT count(*) FROM bookings WHERE id < t.booking_id)",
            "t.position",
            "seats.row_label",
            "seats.number",
            "t.category",
            "t.ticket_type",
            "t.price_minor",
        ],
    ),
    (
        "holds",
        "holds AS h",
        &[
            "(SELECT count(*) FROM users WHERE id < h.user_id)",
            "CASE WHEN h.expires_at > h.created_at THEN 'ends later' ELSE 'wrong' END",
        ],
    ),
    (
        "hold_seats",
        "hold_seats AS t JOIN seats ON seats.id = t.seat_id",
        &["t.position", "seats.row_label", "seats.number", "t.category", "t.ticket_type", "t.price_minor"],
    ),
    (
        "seat_claims",
        "seat_claims AS c JOIN seats ON seats.id = c.seat_id",
        &[
            "seats.row_label",
            "seats.number",
            "c.status",
            "CASE WHEN c.layout_id = seats.layout_id THEN 'its layout' ELSE 'wrong' END",
            "(SELECT count(*) FROM users WHERE id < c.user_id)",
            "(SELECT count(*) FROM bookings WHERE id < c.booking_id)",
            "CASE WHEN c.hold_id IS NULL THEN 'no hold' ELSE 'hold' END",
            "CASE WHEN c.expires_at IS NULL THEN 'for good' \
             WHEN c.expires_at = (SELECT h.expires_at FROM holds h WHERE h.id = c.hold_id) THEN 'as its hold' ELSE 'wrong' END",
        ],
    ),
    (
        "seat_tenures",
        "seat_tenures AS t JOIN seats ON seats.id = t.seat_id",
        &[
            "(SELECT count(*) FROM users WHERE id < t.user_id)",
            "seats.row_label",
            "seats.number",
            "CASE WHEN t.until >= t.since THEN 'ended' ELSE 'wrong' END",
        ],
    ),
    (
        "idempotency_keys",
        "idempotency_keys AS k",
        &[
            "(SELECT count(*) FROM users WHERE id < k.user_id)",
            "k.scope",
            "CASE WHEN k.scope = 'operation' THEN length(k.key) ELSE 0 END",
            "length(k.fingerprint)",
            "length(k.operation_id)",
            "CASE WHEN k.booking_id IS NOT NULL THEN 'booking' WHEN k.hold_id IS NOT NULL THEN 'hold' \
             WHEN k.show_id IS NOT NULL THEN 'show' END",
            "CASE WHEN k.booking_id IS NULL AND k.hold_id IS NULL OR k.booking_id IS NULL AND k.show_id IS NULL \
             OR k.hold_id IS NULL AND k.show_id IS NULL THEN 'alone' ELSE 'wrong' END",
            "CASE WHEN k.answer IS NULL THEN 'forgotten' ELSE 'kept' END",
        ],
    ),
    (
        "outbox",
        "outbox AS o",
        &[
            "(SELECT count(*) FROM outbox AS before WHERE before.id < o.id)",
            "o.kind",
            "(SELECT count(*) FROM bookings WHERE id < o.booking_id)",
            "CASE WHEN o.booking_id IS NULL THEN 'of seats' ELSE 'of a booking' END",
        ],
    ),
    (
        "seat_blocks",
        "seat_blocks AS b JOIN seats ON seats.id = b.seat_id JOIN seat_claims AS c ON c.show_id = b.show_id AND c.seat_id = b.seat_id",
        &[
            "seats.row_label",
            "seats.number",
            "c.status",
            "b.reason",
            "(SELECT count(*) FROM users WHERE id < b.blocked_by)",
        ],
    ),
    (
        "booking_events",
        "booking_events AS e",
        &[
            "(SELECT count(*) FROM booking_events AS before WHERE before.id < e.id)",
            "(SELECT count(*) FROM bookings WHERE id < e.booking_id)",
            "CASE WHEN e.at >= (SELECT b.booked_at FROM bookings AS b WHERE b.id = e.booking_id) THEN 'later' ELSE 'wrong' END",
            "e.kind",
            "e.actor",
            "(SELECT count(*) FROM users WHERE id < e.actor_id)",
            "e.reason",
            "e.details",
        ],
    ),
];

/// The rows of each table after the commands, in the format of [`TABLES`].
const EXPECTED: [&[&str]; 10] = [
    &[
        "0 confirmed EUR 700 kept does not count 10 box_office complimentary",
        "0 confirmed EUR 700 kept does not count 10 online -",
        "1 cancelled EUR 700 cancelled later counts 10 online -",
    ],
    &[
        "0 0 A 6 standard child 1250",
        "0 1 A 1 standard adult 800",
        "1 0 A 3 standard child 800",
        "1 1 A 4 standard adult 1250",
        "2 0 A 2 standard adult 0",
    ],
    &["0 ends later"],
    &["0 A 9 standard child 800", "1 A 7 standard adult 1250"],
    &[
        "A 1 booked its layout 0 0 no hold for good",
        "A 2 booked its layout 0 2 no hold for good",
        "A 3 blocked its layout 0 0 no hold for good",
        "A 5 blocked its layout 0 0 no hold for good",
        "A 6 booked its layout 0 0 no hold for good",
        "A 7 held its layout 0 0 hold as its hold",
        "A 9 held its layout 0 0 hold as its hold",
    ],
    &["0 A 2 ended", "1 A 3 ended", "1 A 4 ended", "1 A 7 ended", "1 A 8 ended"],
    &[
        "0 POST /api/bookings 0 32 16 booking alone kept",
        "0 POST change 0 32 16 booking alone kept",
        "0 operation 32 32 16 hold alone kept",
        "1 POST /api/bookings 0 32 16 booking alone kept",
        "1 POST block 0 32 16 show alone kept",
        "1 POST hold 0 32 16 hold alone kept",
        "1 POST sell_by_staff 0 32 16 booking alone kept",
        "1 operation 32 32 16 booking alone kept",
        "1 operation 32 32 16 booking alone kept",
        "1 operation 32 32 16 hold alone kept",
        "1 operation 32 32 16 hold alone kept",
        "1 operation 32 32 16 show alone kept",
    ],
    &[
        "0 booking_confirmed 0 of a booking",
        "1 seats_held 0 of seats",
        "10 booking_confirmed 2 of a booking",
        "11 booking_changed 0 of a booking",
        "2 booking_confirmed 1 of a booking",
        "3 seats_held 0 of seats",
        "4 seats_released 0 of seats",
        "5 seats_held 0 of seats",
        "6 booking_changed 0 of a booking",
        "7 booking_cancelled 1 of a booking",
        "8 seats_blocked 0 of seats",
        "9 seats_released 0 of seats",
    ],
    &["A 3 blocked For the press 1", "A 5 blocked For the press 1"],
    &[
        r#"0 0 later seats_changed customer 0 - {"seats_after":"A 6 adult 12.50; A 1 child 8.00","seats_before":"A 1 child 8.00; A 2 adult 12.50"}"#,
        "1 1 later cancelled customer 1 - {}",
        r#"2 2 later booked staff 1 A school class {"channel":"box_office","overrides":"seat_limit","payment_kind":"complimentary","seats":"A 2 adult 0.00"}"#,
        r#"3 0 later seats_changed staff 1 A wheelchair {"seats_after":"A 6 child 12.50; A 1 adult 8.00","seats_before":"A 6 adult 12.50; A 1 child 8.00"}"#,
    ],
];

/// The same commands leave the same rows on every store.
pub async fn same_commands_leave_the_same_rows_on_every_store(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let (row, show_id) = (world.row(0), world.soon);
    sell_to(fixture, show_id, "standard", "child", 800).await;
    let hold = |seats: &[_]| Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(tickets(seats)) });
    let book = |seats: &[_]| Action::Book(BookSeats { show_id, seats: tickets(seats) });
    let redeem = |id| Action::RedeemAs(id, tickets(&[(row[3], "adult"), (row[2], "child")]));
    sell(fixture.stores(), SIMPLE, async |sellers| {
        let (kept, ..) =
            booked(&sellers.submit(command(callers[0], book(&[(row[0], "child"), (row[1], "adult")]), "first")).await);
        let (redeemed, ..) =
            held(&sellers.submit(command(callers[1], hold(&[(row[2], "adult"), (row[3], "adult")]), "")).await);
        let (sold, ..) = booked(&sellers.submit(command(callers[1], redeem(redeemed), "second")).await);
        let (released, ..) =
            held(&sellers.submit(command(callers[1], hold(&[(row[6], "adult"), (row[7], "child")]), "third")).await);
        sellers.submit(command(callers[1], Action::Release(released), "")).await.unwrap();
        held(&sellers.submit(command(callers[0], hold(&[(row[8], "child"), (row[6], "adult")]), "")).await);
        let booking = |booking_id| ShowBooking { show_id, booking_id };
        let other_seats = selection(&[row[5], row[0]]);
        booked(&sellers.submit(command(callers[0], Action::Change(booking(kept), other_seats), "fourth")).await);
        booked(&sellers.submit(command(callers[1], Action::Cancel(booking(sold)), "")).await);
        let staff = callers[1];
        sellers.submit(command(staff, Action::Block(house(show_id, &row[2..5])), "fifth")).await.unwrap();
        sellers.submit(command(staff, Action::Unblock(house(show_id, &row[3..4])), "")).await.unwrap();
        let free = sale(show_id, tickets(&[(row[1], "adult")]), callers[0].user_id, PaymentKind::Complimentary);
        booked(&sellers.submit(command(staff, free, "sixth")).await);
        let swapped = CorrectedSeats::Tickets(tickets(&[(row[5], "child"), (row[0], "adult")]));
        let correct = Action::Correct(booking(kept), swapped, act(callers[0].user_id));
        booked(&sellers.submit(command(staff, correct, "")).await);
    })
    .await;
    for ((table, from, columns), expected) in TABLES.iter().zip(EXPECTED) {
        let columns: Vec<_> = columns.iter().map(|column| format!("coalesce(CAST({column} AS text), '-')")).collect();
        let mut rows = fixture.texts(&format!("SELECT {} FROM {from}", columns.join(" || ' ' || "))).await;
        rows.sort_unstable();
        assert_eq!((*table, rows), (*table, expected.iter().map(|row| (*row).to_owned()).collect()));
    }
}
