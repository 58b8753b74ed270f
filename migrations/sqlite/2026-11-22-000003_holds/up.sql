-- What holds, and sales that open and close by themselves, need.

-- From when on a show is sold, and until when, if that is before it begins.
ALTER TABLE shows ADD COLUMN sales_open_at INTEGER;
ALTER TABLE shows ADD COLUMN sales_close_at INTEGER;

-- The seats of a hold, with their prices as they were when it was made: that is what its booking will cost.
CREATE TABLE hold_seats (
    hold_id TEXT NOT NULL REFERENCES holds ON DELETE CASCADE,
    seat_id INTEGER NOT NULL,
    -- The order in which the seats were asked for.
    position INTEGER NOT NULL,
    category TEXT NOT NULL,
    price_minor INTEGER NOT NULL CONSTRAINT hold_seats_price_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (hold_id, seat_id)
) STRICT, WITHOUT ROWID;

-- Finds the holds that ran out.
CREATE INDEX holds_by_expiry ON holds (expires_at);

-- A key remembers a booking or a hold. SQLite can't take a NOT NULL back, so the table is made anew.
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
    PRIMARY KEY (user_id, scope, key),
    CONSTRAINT idempotency_keys_made CHECK ((booking_id IS NULL) <> (hold_id IS NULL))
) STRICT;
INSERT INTO new_idempotency_keys (user_id, scope, key, fingerprint, operation_id, booking_id, answer, created_at)
SELECT user_id, scope, key, fingerprint, operation_id, booking_id, answer, created_at FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE new_idempotency_keys RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_with_answer ON idempotency_keys (created_at) WHERE answer IS NOT NULL;
