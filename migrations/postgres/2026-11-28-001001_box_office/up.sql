-- What the box office needs. The previous release goes on writing keys of bookings and holds, and changes bookings without events.

-- A key remembers a booking, a hold, or a show whose seats are blocked or released. NOT VALID: the rows that exist satisfy the former, narrower
-- constraint.
ALTER TABLE idempotency_keys ADD COLUMN show_id bigint;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_made;
ALTER TABLE idempotency_keys
    ADD CONSTRAINT idempotency_keys_made CHECK (num_nonnulls(booking_id, hold_id, show_id) = 1) NOT VALID;

-- The account that owns the theatre's sales to walk-in customers. NULL until the first one.
ALTER TABLE theatres ADD COLUMN box_office_user_id bigint CONSTRAINT theatres_box_office REFERENCES users;

-- Why seats are blocked for the house. The claim decides whether a seat is blocked: rows without a blocked claim mean nothing. No other
-- foreign keys: each row is written with a claim that has them.
CREATE TABLE seat_blocks (
    show_id bigint NOT NULL,
    seat_id bigint NOT NULL,
    reason text NOT NULL CONSTRAINT seat_blocks_reason_length CHECK (char_length(reason) BETWEEN 1 AND 500),
    blocked_by bigint NOT NULL REFERENCES users,
    blocked_at timestamptz NOT NULL,
    PRIMARY KEY (show_id, seat_id)
);

-- What happened to bookings, kept as long as they are. An online sale has no event: its booking says it all.
CREATE TABLE booking_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    booking_id bigint NOT NULL CONSTRAINT booking_events_of_booking REFERENCES bookings,
    at timestamptz NOT NULL,
    -- booked, seats_changed, cancelled, or a kind of a later version.
    kind text NOT NULL,
    actor text NOT NULL CONSTRAINT booking_events_actor_known CHECK (actor IN ('customer', 'staff', 'system')),
    actor_id bigint REFERENCES users,
    reason text,
    -- A JSON object of texts.
    details text NOT NULL,
    CONSTRAINT booking_events_by_user CHECK ((actor = 'system') = (actor_id IS NULL))
);
CREATE INDEX booking_events_of_booking ON booking_events (booking_id, id);
