-- Increased by every change of a show by staff.
ALTER TABLE shows ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- The shows that staff have cancelled, as PostgreSQL has them.
CREATE TABLE show_cancellations (
    show_id INTEGER PRIMARY KEY NOT NULL REFERENCES shows,
    cancelled_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    -- When all bookings of the show were cancelled as well.
    bookings_cancelled_at INTEGER
) STRICT;
CREATE INDEX show_cancellations_unfinished ON show_cancellations (cancelled_at, show_id) WHERE bookings_cancelled_at IS NULL;
