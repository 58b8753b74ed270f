ALTER TABLE shows DROP COLUMN sales_open_at, DROP COLUMN sales_close_at;
