//! The statements of the booking path.

use tokio_postgres::{Client, Error};

/// Declares the statements by name, and lists them with their SQL.
macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        /// A statement of the booking path.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Statement {
            $($name,)*
        }

        /// Every statement of the booking path, prepared on one connection.
        #[expect(non_snake_case, reason = "each is called what its statement is")]
        pub(super) struct Prepared {
            $($name: tokio_postgres::Statement,)*
        }

        impl Prepared {
            /// Prepares all statements in one round trip.
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

        /// The SQL of the statements of the booking path, for tests of their plans.
        #[cfg(feature = "testing")]
        pub const BOOKING_STATEMENTS: &[&str] = &[$($sql,)*];
    };
}

// Each statement looks its rows up one by one, in the order of the arrays that name them. A subquery with OFFSET 0 or FOR UPDATE is an
// optimization fence, so PostgreSQL cannot reverse the join. Without the fence, PostgreSQL reads a whole index for each batch if the tables
// were analysed while they were empty (measured: 900 bookings a second instead of 4 000). The fence also keeps the order of locks.

/// The distinct ids of the holds that a batch reads: the named holds, the live holds of the named holders, and the holds of the named
/// tenants that are live or have expired recently.
macro_rules! named_holds {
    () => {
        "(
        SELECT id FROM unnest($1::text[]) AS named (id)
        UNION
        SELECT h.id FROM unnest($2::bigint[]) AS named (user_id)
        CROSS JOIN LATERAL (
            SELECT h.id FROM holds h WHERE h.user_id = named.user_id AND h.expires_at > now() OFFSET 0
        ) h
        UNION
        SELECT h.id FROM unnest($3::bigint[], $4::bigint[]) AS named (show_id, user_id)
        CROSS JOIN LATERAL (
            SELECT h.id FROM holds h
            WHERE h.user_id = named.user_id AND h.show_id = named.show_id
                AND h.expires_at > now() - $5::bigint * interval '1 s' OFFSET 0
        ) h
    )"
    };
}

/// The seats of a hold or a booking as arrays, in the order of the request.
macro_rules! sold_seats {
    ($table:literal, $owner:literal) => {
        concat!(
            "(
        SELECT array_agg(sold.seat_id ORDER BY sold.position) AS seat_ids,
            array_agg(seats.row_label ORDER BY sold.position) AS seat_rows,
            array_agg(seats.number ORDER BY sold.position) AS seat_numbers,
            array_agg(sold.category ORDER BY sold.position) AS seat_categories,
            array_agg(sold.ticket_type ORDER BY sold.position) AS seat_ticket_types,
            array_agg(sold.price_minor ORDER BY sold.position) AS seat_prices
        FROM (SELECT * FROM ",
            $table,
            " owned WHERE owned.",
            $owner,
            " = named.id OFFSET 0) sold
        CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = sold.seat_id OFFSET 0) seats
    )"
        )
    };
}

statements! {
    ReserveIds = "SELECT nextval('booking_id_blocks')";

    // This transaction writes only to the WAL. Its commit waits for the standbys like any other commit.
    Confirm = "SELECT pg_logical_emit_message(true, 'barrier', '')";

    // The statements that read a batch, in one snapshot. The row types in `read.rs` use the column names.
    BeginRead = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    ReadClock = "SELECT now() AS now";
    ReadKeys = "
    SELECT k.user_id, k.scope, k.key, k.fingerprint, k.operation_id, k.booking_id, k.hold_id, k.show_id, k.answer
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS named (user_id, scope, key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys k
        WHERE k.user_id = named.user_id AND k.scope = named.scope AND k.key = named.key OFFSET 0
    ) k";
    ReadUsers = "
    SELECT u.id, u.session_generation
    FROM unnest($1::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM users u WHERE u.id = named.id OFFSET 0) u";
    ReadSessions = "
    SELECT s.id, s.user_id
    FROM unnest($1::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM sessions s WHERE s.id = named.id AND s.ended_at IS NULL OFFSET 0) s";
    ReadShows = "
    SELECT s.id, s.version, s.layout_id, s.status, s.start_time, s.end_time, s.sales_open_at, s.sales_close_at, s.currency,
        m.title AS movie_title, t.name AS theatre_name, t.tax_basis_points, h.name AS hall_name,
        p.categories, p.ticket_types, p.prices
    FROM unnest($1::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM shows s WHERE s.id = named.id OFFSET 0) s
    CROSS JOIN LATERAL (SELECT m.title FROM movies m WHERE m.id = s.movie_id OFFSET 0) m
    CROSS JOIN LATERAL (SELECT t.name, t.tax_basis_points FROM theatres t WHERE t.id = s.theatre_id OFFSET 0) t
    CROSS JOIN LATERAL (SELECT h.name FROM halls h WHERE h.id = s.hall_id OFFSET 0) h
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(p.category), '{}') AS categories,
            coalesce(array_agg(p.ticket_type), '{}') AS ticket_types, coalesce(array_agg(p.price_minor), '{}') AS prices
        FROM (SELECT * FROM show_prices p WHERE p.show_id = named.id OFFSET 0) p
    ) p";
    ReadSeatClaims = "
    SELECT c.show_id, c.seat_id, c.status, c.user_id, c.booking_id, c.hold_id, c.expires_at
    FROM unnest($1::bigint[], $2::bigint[]) AS named (show_id, seat_id)
    CROSS JOIN LATERAL (
        SELECT * FROM seat_claims c WHERE c.show_id = named.show_id AND c.seat_id = named.seat_id OFFSET 0
    ) c";
    ReadShowClaims = "
    SELECT c.show_id, c.seat_id, c.status, c.user_id, c.booking_id, c.hold_id, c.expires_at
    FROM unnest($1::bigint[]) AS named (show_id)
    CROSS JOIN LATERAL (SELECT * FROM seat_claims c WHERE c.show_id = named.show_id OFFSET 0) c";
    ReadHolds = concat!("
    SELECT h.id, h.user_id, h.show_id, h.created_at, h.expires_at, s.currency, sold.*
    FROM ", named_holds!(), " named
    CROSS JOIN LATERAL (SELECT * FROM holds h WHERE h.id = named.id OFFSET 0) h
    CROSS JOIN LATERAL (SELECT s.currency FROM shows s WHERE s.id = h.show_id OFFSET 0) s
    CROSS JOIN LATERAL ", sold_seats!("hold_seats", "hold_id"), " sold");
    ReadTenures = "
    SELECT t.show_id, t.user_id, t.seat_id, t.since, t.until
    FROM unnest($1::bigint[], $2::bigint[]) AS named (show_id, user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM seat_tenures t
        WHERE t.show_id = named.show_id AND t.user_id = named.user_id AND t.until > now() - $3::bigint * interval '1 s'
        OFFSET 0
    ) t";
    ReadBookings = concat!("
    SELECT b.id, b.reference, b.user_id, b.show_id, b.status, b.cancelled_at, b.currency, b.tax_basis_points, b.booked_at,
        b.channel, b.payment_kind, sold.*
    FROM unnest($1::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM bookings b WHERE b.id = named.id OFFSET 0) b
    CROSS JOIN LATERAL ", sold_seats!("booking_seats", "booking_id"), " sold");
    ReadCancellations = "
    SELECT b.user_id, b.cancelled_at
    FROM unnest($1::bigint[]) AS named (user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM bookings b
        WHERE b.user_id = named.user_id AND b.counts_as_cancellation
            AND b.cancelled_at > now() - $2::bigint * interval '1 s' OFFSET 0
    ) b";

    Begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    Commit = "COMMIT";
    // The statements that write a batch, in lock order. `must` and violated constraints abort the transaction.
    LockNames = "SELECT lock_names($1::text[])";
    // The status is checked outside the fence. Inside it, PostgreSQL may choose the index of the constraint against overlapping shows,
    // which does not contain ids.
    LockShows = "
    SELECT must((
        SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS named (id, version)
        CROSS JOIN LATERAL (SELECT s.status, s.version FROM shows s WHERE s.id = named.id FOR SHARE) s
        WHERE s.status = 'scheduled' AND s.version = named.version
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
        (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, show_id, answer, created_at)
    SELECT user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, show_id, answer, $10
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::bigint[],
            $9::bytea[])
        AS new (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, show_id, answer)
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
    INSERT INTO hold_seats (hold_id, seat_id, position, category, ticket_type, price_minor)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[])";
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
    INSERT INTO bookings
        (id, reference, user_id, show_id, status, currency, cancelled_at, channel, payment_kind, tax_basis_points, booked_at)
    SELECT id, reference, user_id, show_id, status, currency, cancelled_at, channel, payment_kind, tax_basis_points, $11
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[],
            $8::text[], $9::text[], $10::integer[])
        AS new (id, reference, user_id, show_id, status, currency, cancelled_at, channel, payment_kind, tax_basis_points)
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
    INSERT INTO booking_seats (booking_id, seat_id, position, category, ticket_type, price_minor)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[])";
    DeleteBlocks = "
    WITH locked AS MATERIALIZED (
        SELECT b.ctid FROM unnest($1::bigint[], $2::bigint[]) AS gone (show_id, seat_id)
        CROSS JOIN LATERAL (
            SELECT b.ctid FROM seat_blocks b WHERE b.show_id = gone.show_id AND b.seat_id = gone.seat_id FOR UPDATE
        ) b
    )
    DELETE FROM seat_blocks b WHERE b.ctid = ANY (ARRAY(SELECT ctid FROM locked))";
    PutBlocks = "
    INSERT INTO seat_blocks (show_id, seat_id, reason, blocked_by, blocked_at)
    SELECT show_id, seat_id, reason, blocked_by, $5
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS new (show_id, seat_id, reason, blocked_by)
    ORDER BY show_id, seat_id
    ON CONFLICT (show_id, seat_id) DO UPDATE
        SET reason = excluded.reason, blocked_by = excluded.blocked_by, blocked_at = excluded.blocked_at";
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
    InsertBookingEvents = "
    INSERT INTO booking_events (booking_id, at, kind, actor, actor_id, reason, details)
    SELECT booking_id, $7, kind, actor, actor_id, reason, details
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
        WITH ORDINALITY AS new (booking_id, kind, actor, actor_id, reason, details, position)
    ORDER BY position";
    InsertAudit = "
    INSERT INTO audit_log (at, actor_id, action, object_kind, object_id, theatre_id, before, after, request_id, address)
    SELECT $10, actor_id, action, object_kind, object_id, theatre_id, before, after, request_id, address
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[])
        WITH ORDINALITY AS new (actor_id, action, object_kind, object_id, theatre_id, before, after, request_id, address, position)
    ORDER BY position";
}
