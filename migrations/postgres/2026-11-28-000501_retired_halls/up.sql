-- A retired hall gets no shows. The version is raised by every change of the hall; layouts are versions of their own.
ALTER TABLE halls
    -- The name for searches, folded by the program. NULL in a row that the release before wrote.
    ADD COLUMN name_folded text,
    ADD COLUMN retired_at timestamptz,
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
