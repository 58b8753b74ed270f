ALTER TABLE movies DROP COLUMN retired_at, DROP COLUMN version;
