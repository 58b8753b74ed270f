DROP TABLE booking_events;
DROP TABLE seat_blocks;
ALTER TABLE theatres DROP COLUMN box_office_user_id;
DELETE FROM idempotency_keys WHERE show_id IS NOT NULL;
CREATE TABLE old_idempotency_keys (
    user_id INTEGER NOT NULL,
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
INSERT INTO old_idempotency_keys
    (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at)
SELECT user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at
FROM idempotency_keys ORDER BY rowid;
DROP TABLE idempotency_keys;
ALTER TABLE old_idempotency_keys RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_with_answer ON idempotency_keys (created_at) WHERE answer IS NOT NULL;
