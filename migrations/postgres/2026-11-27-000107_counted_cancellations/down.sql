ALTER TABLE bookings DROP COLUMN counts_as_cancellation;
