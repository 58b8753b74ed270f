ALTER TABLE halls DROP COLUMN name_folded, DROP COLUMN retired_at, DROP COLUMN version;
