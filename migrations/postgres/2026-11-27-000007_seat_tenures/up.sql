-- What limits how long an account keeps a seat from others. The release before reads and writes none of it.

-- Until when, and since when, an account had a seat that it let go of by a command: the last time for each seat. A hold that runs
-- out writes no row; it stays in "holds". Rows live for forty minutes. No foreign keys: each row is written with a hold or a
-- booking that has them.
CREATE TABLE seat_tenures (
    show_id bigint NOT NULL,
    user_id bigint NOT NULL,
    seat_id bigint NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (show_id, user_id, seat_id)
);

-- Finds the rows that no longer count.
CREATE INDEX seat_tenures_by_until ON seat_tenures (until);

-- Rows come and go by the minute, as those of holds do.
ALTER TABLE seat_tenures SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- Finds the live holds of an account over all shows, past those that ran out and are kept for a day. There are few holds at any time,
-- so it is created at once.
CREATE INDEX holds_of_user_by_expiry ON holds (user_id, expires_at);
