-- The code and the names for searches, folded by the program. NULL in a row that the release before wrote.
ALTER TABLE ticket_types ADD COLUMN search_folded text;

-- The price lists of theatres.
CREATE TABLE price_lists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    theatre_id bigint NOT NULL REFERENCES theatres,
    name text COLLATE "C" NOT NULL,
    -- The name for searches, folded by the program.
    name_folded text NOT NULL,
    -- Of all its prices: that of the theatre until it is retired.
    currency text NOT NULL CONSTRAINT price_lists_currency_letters CHECK (currency ~ '^[A-Z]{3}$'),
    -- A JSON object: the base prices, and the rules in their order. It is read and written as a whole.
    content text NOT NULL CONSTRAINT price_lists_content_object CHECK (json_typeof(content::json) = 'object'),
    -- Raised by every change.
    version bigint NOT NULL DEFAULT 1,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT price_lists_name_unique UNIQUE (theatre_id, name)
);
