-- What the box office needs. The previous release goes on writing keys of bookings and holds, and changes bookings without events.

-- A key remembers a booking, a hold, or a show whose seats are blocked or released. SQLite changes no CHECK, so the table is made again.
CREATE TABLE new_idempotency_keys (
    -- That the user exists the booking's or the hold's foreign key says.
    user_id INTEGER NOT NULL,
    -- Method and path, like POST /api/bookings.
    scope TEXT NOT NULL,
    key TEXT NOT NULL CONSTRAINT idempotency_keys_length CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint BLOB NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    operation_id BLOB NOT NULL CONSTRAINT idempotency_keys_operation_length CHECK (length(operation_id) = 16),
    booking_id INTEGER,
    hold_id TEXT,
    answer BLOB,
    created_at INTEGER NOT NULL,
    show_id INTEGER,
    PRIMARY KEY (user_id, scope, key),
    CONSTRAINT idempotency_keys_made
        CHECK ((booking_id IS NOT NULL) + (hold_id IS NOT NULL) + (show_id IS NOT NULL) = 1)
) STRICT;
INSERT INTO new_idempotency_keys
    (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at)
SELECT user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at
FROM idempotency_keys ORDER BY rowid;
DROP TABLE idempotency_keys;
ALTER TABLE new_idempotency_keys RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_with_answer ON idempotency_keys (created_at) WHERE answer IS NOT NULL;

-- The account that owns the theatre's sales to walk-in customers. NULL until the first one.
ALTER TABLE theatres ADD COLUMN box_office_user_id INTEGER CONSTRAINT theatres_box_office REFERENCES users;

-- Why seats are blocked for the house. The claim decides whether a seat is blocked: rows without a blocked claim mean nothing. No other
-- foreign keys: each row is written with a claim that has them.
CREATE TABLE seat_blocks (
    show_id INTEGER NOT NULL,
    seat_id INTEGER NOT NULL,
    reason TEXT NOT NULL CONSTRAINT seat_blocks_reason_length CHECK (length(reason) BETWEEN 1 AND 500),
    blocked_by INTEGER NOT NULL REFERENCES users,
    blocked_at INTEGER NOT NULL,
    PRIMARY KEY (show_id, seat_id)
) STRICT, WITHOUT ROWID;

-- What happened to bookings, kept as long as they are. An online sale has no event: its booking says it all.
CREATE TABLE booking_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    booking_id INTEGER NOT NULL CONSTRAINT booking_events_of_booking REFERENCES bookings,
    at INTEGER NOT NULL,
    -- booked, seats_changed, cancelled, or a kind of a later version.
    kind TEXT NOT NULL,
    actor TEXT NOT NULL CONSTRAINT booking_events_actor_known CHECK (actor IN ('customer', 'staff', 'system')),
    actor_id INTEGER REFERENCES users,
    reason TEXT,
    -- A JSON object of texts.
    details TEXT NOT NULL,
    CONSTRAINT booking_events_by_user CHECK ((actor = 'system') = (actor_id IS NULL))
) STRICT;
CREATE INDEX booking_events_of_booking ON booking_events (booking_id, id);
