-- Increased by every change of a show by staff.
ALTER TABLE shows ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- The shows that staff have cancelled.
CREATE TABLE show_cancellations (
    show_id bigint PRIMARY KEY REFERENCES shows,
    cancelled_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    -- When all bookings of the show were cancelled as well.
    bookings_cancelled_at timestamptz
);
CREATE INDEX show_cancellations_unfinished ON show_cancellations (cancelled_at, show_id) WHERE bookings_cancelled_at IS NULL;
