DROP TABLE show_cancellations;
ALTER TABLE shows DROP COLUMN version;
