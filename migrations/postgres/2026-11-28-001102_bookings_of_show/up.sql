-- Finds the bookings of shows, in order. Without more columns: each booking maintains the index, and reports read the bookings of many shows
-- page by page.
CREATE INDEX CONCURRENTLY bookings_of_show ON bookings (show_id, id);
