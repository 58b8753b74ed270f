-- What staff work with. The release before reads and writes none of it; the defaults are for the rows that it writes.

-- The names for searches, folded by the program. NULL in a row that the release before wrote.
ALTER TABLE users ADD COLUMN name_folded TEXT;
-- A disabled account has no session and cannot log in.
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
-- Raised by every change of the account.
ALTER TABLE users ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- A retired movie is in no public list and gets no shows.
ALTER TABLE movies ADD COLUMN retired_at INTEGER;
ALTER TABLE movies ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

ALTER TABLE theatres ADD COLUMN name_folded TEXT;
ALTER TABLE theatres ADD COLUMN currency TEXT NOT NULL DEFAULT 'EUR'
    CONSTRAINT theatres_currency_letters CHECK (currency GLOB '[A-Z][A-Z][A-Z]');
-- Of the tax that prices include, in hundredths of a percent.
ALTER TABLE theatres ADD COLUMN tax_basis_points INTEGER NOT NULL DEFAULT 0
    CONSTRAINT theatres_tax_rate CHECK (tax_basis_points BETWEEN 0 AND 5000);
-- For which a hall is cleaned after a show.
ALTER TABLE theatres ADD COLUMN cleaning_minutes INTEGER NOT NULL DEFAULT 15
    CONSTRAINT theatres_cleaning_time CHECK (cleaning_minutes BETWEEN 0 AND 240);
ALTER TABLE theatres ADD COLUMN retired_at INTEGER;
ALTER TABLE theatres ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
UPDATE theatres SET currency =
    coalesce((SELECT s.currency FROM shows s WHERE s.theatre_id = theatres.id ORDER BY s.start_time DESC LIMIT 1), currency);

ALTER TABLE halls ADD COLUMN name_folded TEXT;
ALTER TABLE halls ADD COLUMN retired_at INTEGER;
ALTER TABLE halls ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- The theatres that a member of staff works for.
CREATE TABLE staff_theatres (
    user_id INTEGER NOT NULL REFERENCES users,
    theatre_id INTEGER NOT NULL REFERENCES theatres,
    PRIMARY KEY (user_id, theatre_id)
) STRICT, WITHOUT ROWID;

-- Idempotency keys of changes by staff, with their answers, for IDEMPOTENCY_TTL.
CREATE TABLE staff_keys (
    user_id INTEGER NOT NULL REFERENCES users,
    -- Method and path, like POST /api/admin/movies.
    scope TEXT NOT NULL,
    key TEXT NOT NULL CONSTRAINT staff_keys_length CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint BLOB NOT NULL CONSTRAINT staff_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    object_id INTEGER NOT NULL,
    -- The version of the object after the change.
    version INTEGER NOT NULL,
    answer BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX staff_keys_by_age ON staff_keys (created_at);

-- Who changed what, written in the transaction of the change.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor_id INTEGER NOT NULL REFERENCES users,
    action TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id INTEGER NOT NULL,
    theatre_id INTEGER,
    -- The changed fields, JSON objects of texts.
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    request_id TEXT NOT NULL,
    address TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_of_object ON audit_log (object_kind, object_id, id);
CREATE INDEX audit_log_of_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_of_theatre ON audit_log (theatre_id, id);
CREATE INDEX audit_log_by_age ON audit_log (at, id);

-- Up to when entries may be deleted: one row, which only moves forward, by AUDIT_TTL.
CREATE TABLE audit_retention (
    id INTEGER PRIMARY KEY CONSTRAINT audit_retention_single CHECK (id = 1),
    delete_before INTEGER NOT NULL
) STRICT;
INSERT INTO audit_retention (id, delete_before) VALUES (1, -9223372036854775808);

CREATE TRIGGER audit_log_keeps_rows BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_log_keeps_young_rows BEFORE DELETE ON audit_log
WHEN OLD.at >= (SELECT delete_before FROM audit_retention)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
