-- Ticket types, and prices for each of them, as PostgreSQL has them.

CREATE TABLE ticket_types (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    code TEXT NOT NULL
        CONSTRAINT ticket_types_code_unique UNIQUE
        CONSTRAINT ticket_types_code_form CHECK (length(code) BETWEEN 1 AND 30 AND code NOT GLOB '*[^a-z0-9_]*'),
    -- A JSON object: a name for each language tag.
    names TEXT NOT NULL CONSTRAINT ticket_types_names_object CHECK (json_valid(names) AND json_type(names) = 'object'),
    needs_proof INTEGER NOT NULL DEFAULT 0 CONSTRAINT ticket_types_needs_proof_boolean CHECK (needs_proof IN (0, 1)),
    position INTEGER NOT NULL,
    -- Raised by every change.
    version INTEGER NOT NULL DEFAULT 1,
    -- Since when it is not offered for new shows. Prices, holds and bookings that have it stay.
    retired_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- The default of every request. It always exists.
INSERT INTO ticket_types (code, names, position, created_at, updated_at)
VALUES ('adult', '{"en":"Adult"}', 0, unixepoch() * 1000000, unixepoch() * 1000000);

-- SQLite cannot change a primary key, so the table is rebuilt.
CREATE TABLE new_show_prices (
    show_id INTEGER NOT NULL REFERENCES shows,
    category TEXT NOT NULL,
    ticket_type TEXT NOT NULL DEFAULT 'adult'
        CONSTRAINT show_prices_ticket_type_known REFERENCES ticket_types (code),
    price_minor INTEGER NOT NULL CONSTRAINT show_prices_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (show_id, category, ticket_type)
) STRICT, WITHOUT ROWID;
INSERT INTO new_show_prices (show_id, category, price_minor) SELECT show_id, category, price_minor FROM show_prices;
DROP TABLE show_prices;
ALTER TABLE new_show_prices RENAME TO show_prices;

-- Frozen like the price.
ALTER TABLE hold_seats ADD COLUMN ticket_type TEXT NOT NULL DEFAULT 'adult';
ALTER TABLE booking_seats ADD COLUMN ticket_type TEXT NOT NULL DEFAULT 'adult';
