-- The code and the names for searches, folded by the program. NULL in a row that the release before wrote.
ALTER TABLE ticket_types ADD COLUMN search_folded TEXT;

-- The price lists of theatres, as PostgreSQL has them.
CREATE TABLE price_lists (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    theatre_id INTEGER NOT NULL REFERENCES theatres,
    name TEXT NOT NULL,
    -- The name for searches, folded by the program.
    name_folded TEXT NOT NULL,
    -- Of all its prices: that of the theatre until it is retired.
    currency TEXT NOT NULL CONSTRAINT price_lists_currency_letters CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    -- A JSON object: the base prices, and the rules in their order. It is read and written as a whole.
    content TEXT NOT NULL
        CONSTRAINT price_lists_content_object CHECK (json_valid(content) AND json_type(content) = 'object'),
    -- Raised by every change.
    version INTEGER NOT NULL DEFAULT 1,
    retired_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT price_lists_name_unique UNIQUE (theatre_id, name)
) STRICT;
