-- Ticket types, and prices for each of them. The previous release writes none of the new columns, so that all that it writes is for
-- adults. It reads all prices of a show as if they had no ticket type: shows may be sold to others than adults only once all servers are
-- of this release.

CREATE TABLE ticket_types (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text COLLATE "C" NOT NULL
        CONSTRAINT ticket_types_code_unique UNIQUE
        CONSTRAINT ticket_types_code_form CHECK (code ~ '^[a-z0-9_]{1,30}$'),
    -- A JSON object: a name for each language tag.
    names text NOT NULL CONSTRAINT ticket_types_names_object CHECK (json_typeof(names::json) = 'object'),
    needs_proof boolean NOT NULL DEFAULT false,
    position integer NOT NULL,
    -- Raised by every change.
    version bigint NOT NULL DEFAULT 1,
    -- Since when it is not offered for new shows. Prices, holds and bookings that have it stay.
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The default of every request. It always exists.
INSERT INTO ticket_types (code, names, position) VALUES ('adult', '{"en":"Adult"}', 0);

-- A constant default: no row is written. The table has a few rows for each show, so its key is rebuilt in a moment.
ALTER TABLE show_prices
    ADD COLUMN ticket_type text COLLATE "C" NOT NULL DEFAULT 'adult'
        CONSTRAINT show_prices_ticket_type_known REFERENCES ticket_types (code),
    DROP CONSTRAINT show_prices_pkey,
    ADD CONSTRAINT show_prices_pkey PRIMARY KEY (show_id, category, ticket_type);

-- Frozen like the price. Without foreign keys, which would cost each booking a check: the price had one.
ALTER TABLE hold_seats ADD COLUMN ticket_type text NOT NULL DEFAULT 'adult';
ALTER TABLE booking_seats ADD COLUMN ticket_type text NOT NULL DEFAULT 'adult';
