DROP FUNCTION lock_names(text[]);
ALTER TABLE holds RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
DROP INDEX holds_by_expiry;
DROP TABLE hold_seats;
