-- What administrators set of an account. The release before reads and writes none of it.
ALTER TABLE users
    -- The name for searches, folded by the program. NULL in a row that the release before wrote.
    ADD COLUMN name_folded text,
    -- A disabled account has no session and cannot log in.
    ADD COLUMN disabled_at timestamptz,
    -- Raised by every change of the account.
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
