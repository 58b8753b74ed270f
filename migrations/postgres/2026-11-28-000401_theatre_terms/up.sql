-- What staff set of a theatre. The defaults are for the release before, which writes none of it.
ALTER TABLE theatres
    -- The name for searches, folded by the program. NULL in a row that the release before wrote.
    ADD COLUMN name_folded text,
    ADD COLUMN currency text NOT NULL DEFAULT 'EUR' CONSTRAINT theatres_currency_letters CHECK (currency ~ '^[A-Z]{3}$'),
    -- Of the tax that prices include, in hundredths of a percent.
    ADD COLUMN tax_basis_points integer NOT NULL DEFAULT 0
        CONSTRAINT theatres_tax_rate CHECK (tax_basis_points BETWEEN 0 AND 5000),
    -- For which a hall is cleaned after a show.
    ADD COLUMN cleaning_minutes integer NOT NULL DEFAULT 15
        CONSTRAINT theatres_cleaning_time CHECK (cleaning_minutes BETWEEN 0 AND 240),
    ADD COLUMN retired_at timestamptz,
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
UPDATE theatres SET currency =
    coalesce((SELECT s.currency FROM shows s WHERE s.theatre_id = theatres.id ORDER BY s.start_time DESC LIMIT 1), currency);
