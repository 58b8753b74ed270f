//! The statements of the booking path.

use tokio_postgres::{Client, Error};

/// Declares the statements, each by a name, and lists them with their texts.
macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        /// A statement of the booking path.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Statement {
            $($name,)*
        }

        /// Every statement of the booking path, prepared on a connection.
        #[expect(non_snake_case, reason = "each is called what its statement is")]
        pub(super) struct Prepared {
            $($name: tokio_postgres::Statement,)*
        }

        impl Prepared {
            /// Prepares all of them in one round trip.
            #[expect(non_snake_case, reason = "each is called what its statement is")]
            pub(super) async fn on(client: &Client) -> Result<Self, Error> {
                let ($($name,)*) = tokio::try_join!($(client.prepare($sql),)*)?;
                Ok(Self { $($name,)* })
            }

            pub(super) fn get(&self, statement: Statement) -> &tokio_postgres::Statement {
                match statement {
                    $(Statement::$name => &self.$name,)*
                }
            }
        }

        /// The texts of the statements of the booking path, for tests of how PostgreSQL runs them.
        #[cfg(feature = "testing")]
        pub const BOOKING_STATEMENTS: &[&str] = &[$($sql,)*];
    };
}

// What is named comes first and its rows are looked up one by one: a subquery with OFFSET 0, or with FOR UPDATE, is no join that
// PostgreSQL may turn round. Where tables were analysed while they were empty it would else read all of an index for each batch
// (measured: 900 bookings a second instead of 4 000). Arrays come in lock order, and so their rows are locked.
//
// The read of a batch is one statement, so one snapshot and one round trip. Each row has a `kind` and uses the columns it needs:
//
// kind            | n0       n1       n2       n3       | t0         t1       t2      | s0       s1     s2    s3   s4   | b0 … b2
// 0 clock         |                                     | now                          |                                 |
// 1 key           | user     booking                    |                              | scope    key    hold            | fingerprint, operation, answer
// 2 user          | user     generation                 |                              |                                 |
// 3 show          | show     layout                     | start      opens    closes   | status   currency movie theatre hall |
// 4 price         | show     minor                      |                              | category                        |
// 5 claim         | show     seat     user     booking  | expires                      | status   hold                   |
// 6 hold          | user     show                       | created    expires           | hold     currency               |
// 7 held seat     | seat     minor    number   position |                              | hold     category row           |
// 8 booking       | booking  user     show              | booked     cancelled         | reference status currency       |
// 9 booked seat   | booking  seat     minor    position |                              | category row    number          |
// 10 session      | session  user                       |                              |                                 |
// 11 tenure       | show     user     seat              | since      until             |                                 |
// 12 cancellation | user                                | cancelled                    |                                 |

/// What every batch reads, and what more some do.
macro_rules! read_batch {
    ($($more:expr),*) => {
        concat!(
            "
    SELECT 0::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
        now(), NULL::timestamptz, NULL::timestamptz,
        NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::bytea
    UNION ALL
    SELECT 1::smallint, k.user_id, k.booking_id, NULL, NULL, NULL, NULL, NULL, k.scope, k.key, k.hold_id, NULL, NULL,
        k.fingerprint, k.operation_id, k.answer
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS named (user_id, scope, key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys k
        WHERE k.user_id = named.user_id AND k.scope = named.scope AND k.key = named.key OFFSET 0
    ) k
    UNION ALL
    SELECT 2::smallint, u.id, u.session_generation, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($4::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM users u WHERE u.id = named.id OFFSET 0) u
    UNION ALL
    SELECT 3::smallint, s.id, s.layout_id, NULL, NULL, s.start_time, s.sales_open_at, s.sales_close_at,
        s.status, s.currency, m.title, t.name, h.name, NULL, NULL, NULL
    FROM unnest($5::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM shows s WHERE s.id = named.id OFFSET 0) s
    CROSS JOIN LATERAL (SELECT m.title FROM movies m WHERE m.id = s.movie_id OFFSET 0) m
    CROSS JOIN LATERAL (SELECT t.name FROM theatres t WHERE t.id = s.theatre_id OFFSET 0) t
    CROSS JOIN LATERAL (SELECT h.name FROM halls h WHERE h.id = s.hall_id OFFSET 0) h
    UNION ALL
    SELECT 4::smallint, p.show_id, p.price_minor, NULL, NULL, NULL, NULL, NULL, p.category, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($5::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM show_prices p WHERE p.show_id = named.id OFFSET 0) p
    UNION ALL
    SELECT 5::smallint, c.show_id, c.seat_id, c.user_id, c.booking_id, c.expires_at, NULL, NULL, c.status, c.hold_id,
        NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($6::bigint[], $7::bigint[]) AS named (show_id, seat_id)
    CROSS JOIN LATERAL (
        SELECT * FROM seat_claims c WHERE c.show_id = named.show_id AND c.seat_id = named.seat_id OFFSET 0
    ) c
    UNION ALL
    SELECT 10::smallint, s.id, s.user_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($8::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM sessions s WHERE s.id = named.id AND s.ended_at IS NULL OFFSET 0) s"
            $(, $more)*
        )
    };
}

/// The ids of the holds that a batch reads, each once: those that are named, the live ones of the holders, and those of the tenants
/// that are live or ran out lately.
macro_rules! read_holds {
    () => {
        "(
        SELECT id FROM unnest($10::text[]) AS named (id)
        UNION
        SELECT h.id FROM unnest($11::bigint[]) AS named (user_id)
        CROSS JOIN LATERAL (
            SELECT h.id FROM holds h WHERE h.user_id = named.user_id AND h.expires_at > now() OFFSET 0
        ) h
        UNION
        SELECT h.id FROM unnest($12::bigint[], $13::bigint[]) AS named (show_id, user_id)
        CROSS JOIN LATERAL (
            SELECT h.id FROM holds h
            WHERE h.user_id = named.user_id AND h.show_id = named.show_id
                AND h.expires_at > now() - $16::bigint * interval '1 s' OFFSET 0
        ) h
    )"
    };
}

statements! {
    ReserveIds = "SELECT nextval('booking_id_blocks')";

    // A transaction that writes nothing but to the log: its commit waits for the standbys as any other does.
    Confirm = "SELECT pg_logical_emit_message(true, 'barrier', '')";

    // A batch that books seats by their ids names nothing else.
    ReadBatch = read_batch!();
    ReadWholeBatch = read_batch!("
    UNION ALL
    SELECT 5::smallint, c.show_id, c.seat_id, c.user_id, c.booking_id, c.expires_at, NULL, NULL, c.status, c.hold_id,
        NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($9::bigint[]) AS named (show_id)
    CROSS JOIN LATERAL (SELECT * FROM seat_claims c WHERE c.show_id = named.show_id OFFSET 0) c
    UNION ALL
    SELECT 6::smallint, h.user_id, h.show_id, NULL, NULL, h.created_at, h.expires_at, NULL, h.id, s.currency, NULL, NULL,
        NULL, NULL, NULL, NULL
    FROM ", read_holds!(), " named
    CROSS JOIN LATERAL (SELECT * FROM holds h WHERE h.id = named.id OFFSET 0) h
    CROSS JOIN LATERAL (SELECT s.currency FROM shows s WHERE s.id = h.show_id OFFSET 0) s
    UNION ALL
    SELECT 7::smallint, hs.seat_id, hs.price_minor, seats.number::bigint, hs.position::bigint, NULL, NULL, NULL,
        hs.hold_id, hs.category, seats.row_label, NULL, NULL, NULL, NULL, NULL
    FROM ", read_holds!(), " named
    CROSS JOIN LATERAL (SELECT * FROM hold_seats hs WHERE hs.hold_id = named.id OFFSET 0) hs
    CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = hs.seat_id OFFSET 0) seats
    UNION ALL
    SELECT 8::smallint, b.id, b.user_id, b.show_id, NULL, b.booked_at, b.cancelled_at, NULL, b.reference, b.status,
        b.currency, NULL, NULL, NULL, NULL, NULL
    FROM unnest($14::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM bookings b WHERE b.id = named.id OFFSET 0) b
    UNION ALL
    SELECT 9::smallint, bs.booking_id, bs.seat_id, bs.price_minor, bs.position::bigint, NULL, NULL, NULL,
        bs.category, seats.row_label, seats.number::text, NULL, NULL, NULL, NULL, NULL
    FROM unnest($14::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM booking_seats bs WHERE bs.booking_id = named.id OFFSET 0) bs
    CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = bs.seat_id OFFSET 0) seats
    UNION ALL
    SELECT 11::smallint, t.show_id, t.user_id, t.seat_id, NULL, t.since, t.until, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($12::bigint[], $13::bigint[]) AS named (show_id, user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM seat_tenures t
        WHERE t.show_id = named.show_id AND t.user_id = named.user_id AND t.until > now() - $16::bigint * interval '1 s'
        OFFSET 0
    ) t
    UNION ALL
    SELECT 12::smallint, b.user_id, NULL, NULL, NULL, b.cancelled_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($15::bigint[]) AS named (user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM bookings b
        WHERE b.user_id = named.user_id AND b.counts_as_cancellation
            AND b.cancelled_at > now() - $17::bigint * interval '1 s' OFFSET 0
    ) b");

    Begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    Commit = "COMMIT";
    // The statements of a flight, in lock order. `must` and violated constraints abort all of them.
    LockNames = "SELECT lock_names($1::text[])";
    // The status is looked at behind the fence: with it PostgreSQL may take the index over shows that never overlap, which knows no ids.
    LockShows = "
    SELECT must((
        SELECT count(*) FROM unnest($1::bigint[]) AS named (id)
        CROSS JOIN LATERAL (SELECT s.status FROM shows s WHERE s.id = named.id FOR SHARE) s
        WHERE s.status = 'scheduled'
    ) = cardinality($1::bigint[]))";
    CheckHeld = "
    SELECT must(NOT EXISTS (
        SELECT 1 FROM unnest($1::bigint[], $2::bigint[]) AS named (user_id, seats)
        WHERE named.seats <> (
            SELECT count(*)
            FROM (SELECT h.id FROM holds h WHERE h.user_id = named.user_id AND h.expires_at > $3 OFFSET 0) h
            CROSS JOIN LATERAL (SELECT 1 FROM hold_seats hs WHERE hs.hold_id = h.id OFFSET 0) hs)))";
    CheckCancellations = "
    SELECT must(NOT EXISTS (
        SELECT 1 FROM unnest($1::bigint[], $2::bigint[]) AS named (user_id, bookings)
        WHERE named.bookings <> (
            SELECT count(*) FROM bookings b
            WHERE b.user_id = named.user_id AND b.counts_as_cancellation
                AND b.cancelled_at > $3::timestamptz - $4::bigint * interval '1 s')))";
    CheckRows = "
    SELECT must(NOT EXISTS (
        SELECT 1
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) AS named (show_id, layout_id, row_label, taken)
        WHERE named.taken <> (
            SELECT coalesce(string_agg(c.seat_id::text, ' ' ORDER BY c.seat_id), '')
            FROM (
                SELECT id FROM seats
                WHERE seats.layout_id = named.layout_id AND seats.row_label = named.row_label OFFSET 0
            ) seats
            CROSS JOIN LATERAL (
                SELECT c.seat_id FROM seat_claims c
                WHERE c.show_id = named.show_id AND c.seat_id = seats.id
                    AND (c.expires_at IS NULL OR c.expires_at > $5) OFFSET 0
            ) c)))";
    CheckCallers = "
    SELECT must(
        (SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS named (id, session_generation)
        CROSS JOIN LATERAL (
            SELECT 1 FROM users u WHERE u.id = named.id AND u.session_generation = named.session_generation OFFSET 0
        ) u) = cardinality($1::bigint[])
        AND (SELECT count(*) FROM unnest($3::bigint[]) AS named (id)
        CROSS JOIN LATERAL (SELECT 1 FROM sessions s WHERE s.id = named.id AND s.ended_at IS NULL OFFSET 0) s)
            = cardinality($3::bigint[]))";
    InsertKeys = "
    INSERT INTO idempotency_keys
        (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at)
    SELECT user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, $9
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::bytea[])
        AS new (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer)
    ORDER BY user_id, scope, key";
    LockHolds = "
    SELECT must((SELECT count(*) FROM (
        SELECT 1 FROM unnest($1::text[], $2::timestamptz[]) AS expected (id, expires_at)
        CROSS JOIN LATERAL (
            SELECT 1 FROM holds h WHERE h.id = expected.id AND h.expires_at = expected.expires_at FOR UPDATE
        ) h
    ) locked) = cardinality($1::text[]))";
    DeleteHolds = "DELETE FROM holds WHERE id = ANY ($1::text[])";
    ExtendHolds = "
    UPDATE holds h SET expires_at = next.expires_at
    FROM unnest($1::text[], $2::timestamptz[]) AS next (id, expires_at)
    WHERE h.id = next.id AND h.id = ANY ($1::text[])";
    InsertHolds = "
    INSERT INTO holds (id, user_id, show_id, created_at, expires_at)
    SELECT id, user_id, show_id, $5, expires_at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS new (id, user_id, show_id, expires_at)
    ORDER BY id";
    InsertHoldSeats = "
    INSERT INTO hold_seats (hold_id, seat_id, position, category, price_minor)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[])";
    LockBookings = "
    SELECT must((SELECT count(*) FROM (
        SELECT 1 FROM unnest($1::bigint[], $2::text[]) AS expected (id, status)
        CROSS JOIN LATERAL (
            SELECT 1 FROM bookings b WHERE b.id = expected.id AND b.status = expected.status FOR UPDATE
        ) b
    ) locked) = cardinality($1::bigint[]))";
    UpdateBookings = "
    UPDATE bookings b SET status = next.status, cancelled_at = next.cancelled_at
    FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS next (id, status, cancelled_at)
    WHERE b.id = next.id AND b.id = ANY ($1::bigint[])";
    DeleteBookingSeats = "
    WITH deleted AS (
        DELETE FROM booking_seats bs USING unnest($1::bigint[], $2::bigint[]) AS expected (booking_id, seat_id)
        WHERE bs.booking_id = expected.booking_id AND bs.seat_id = expected.seat_id
            AND bs.booking_id = ANY ($1::bigint[])
        RETURNING 1
    )
    SELECT must((SELECT count(*) FROM deleted) = cardinality($1::bigint[]))";
    InsertBookings = "
    INSERT INTO bookings (id, reference, user_id, show_id, status, currency, cancelled_at, booked_at)
    SELECT id, reference, user_id, show_id, status, currency, cancelled_at, $8
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
        AS new (id, reference, user_id, show_id, status, currency, cancelled_at)
    ORDER BY id";
    CountCancellations = "UPDATE bookings SET counts_as_cancellation = true WHERE id = ANY ($1::bigint[])";
    DeleteClaims = "
    WITH locked AS MATERIALIZED (
        SELECT c.ctid
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
            AS expected (show_id, seat_id, status, booking_id, hold_id, expires_at)
        CROSS JOIN LATERAL (
            SELECT c.ctid FROM seat_claims c
            WHERE c.show_id = expected.show_id AND c.seat_id = expected.seat_id AND c.status = expected.status
                AND c.booking_id IS NOT DISTINCT FROM expected.booking_id
                AND c.hold_id IS NOT DISTINCT FROM expected.hold_id
                AND c.expires_at IS NOT DISTINCT FROM expected.expires_at
            FOR UPDATE
        ) c
    ), deleted AS (
        DELETE FROM seat_claims c WHERE c.ctid = ANY (ARRAY(SELECT ctid FROM locked)) RETURNING 1
    )
    SELECT must((SELECT count(*) FROM deleted) = cardinality($1::bigint[]))";
    InsertClaims = "
    INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at)
    SELECT show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
            $8::timestamptz[])
        AS new (show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at)
    ORDER BY show_id, seat_id";
    InsertBookingSeats = "
    INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[])";
    PutTenures = "
    INSERT INTO seat_tenures (show_id, user_id, seat_id, since, until)
    SELECT show_id, user_id, seat_id, since, $5
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS ended (show_id, user_id, seat_id, since)
    ORDER BY show_id, user_id, seat_id
    ON CONFLICT (show_id, user_id, seat_id) DO UPDATE SET since = excluded.since, until = excluded.until";
    InsertOutbox = "
    INSERT INTO outbox (kind, show_id, booking_id, created_at)
    SELECT kind, show_id, booking_id, $4
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS new (kind, show_id, booking_id, position)
    ORDER BY position";
}
