ALTER TABLE users DROP COLUMN name_folded, DROP COLUMN disabled_at, DROP COLUMN version;
