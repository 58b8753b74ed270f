-- What limits how long an account keeps a seat from others, and how often it cancels.

-- Until when, and since when, an account had a seat that it let go of by a command: the last time for each seat. A hold that runs
-- out writes no row; it stays in "holds". Rows live for forty minutes. No foreign keys: each row is written with a hold or a
-- booking that has them.
CREATE TABLE seat_tenures (
    show_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    seat_id INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (show_id, user_id, seat_id)
) STRICT, WITHOUT ROWID;

-- Finds the rows that no longer count.
CREATE INDEX seat_tenures_by_until ON seat_tenures (until);

-- Finds the live holds of an account over all shows, past those that ran out and are kept for a day.
CREATE INDEX holds_of_user_by_expiry ON holds (user_id, expires_at);

-- Whether a booking's cancellation counts towards its owner's limit: the owner cancelled it, and its show took place. What the
-- house cancels does not count, nor does what was cancelled before.
ALTER TABLE bookings ADD COLUMN counts_as_cancellation INTEGER NOT NULL DEFAULT 0
    CONSTRAINT bookings_counts_boolean CHECK (counts_as_cancellation IN (0, 1));

-- Finds an account's cancellations. A booking that is not cancelled has no entry.
CREATE INDEX cancellations_of_user ON bookings (user_id, cancelled_at) WHERE cancelled_at IS NOT NULL;
