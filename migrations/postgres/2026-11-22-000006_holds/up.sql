-- What holds need. The release before reads and writes none of it.

-- The seats of a hold, with their prices as they were when it was made: that is what its booking will cost.
CREATE TABLE hold_seats (
    hold_id text NOT NULL REFERENCES holds ON DELETE CASCADE,
    seat_id bigint NOT NULL,
    -- The order in which the seats were asked for.
    position smallint NOT NULL,
    category text NOT NULL,
    price_minor bigint NOT NULL CONSTRAINT hold_seats_price_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (hold_id, seat_id)
);

-- Finds the holds that ran out. There are few holds at any time, so it is made at once.
CREATE INDEX holds_by_expiry ON holds (expires_at);

-- Holds come and go by the minute.
ALTER TABLE holds SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
ALTER TABLE hold_seats SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- Rows whose seats matter together are written by one transaction at a time: locks by name, each once, in one order.
CREATE FUNCTION lock_names(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    FOR number IN SELECT DISTINCT hashtextextended(name, 0) FROM unnest(names) AS named (name) ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(number);
    END LOOP;
END
$$;
