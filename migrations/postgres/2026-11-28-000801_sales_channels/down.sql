ALTER TABLE bookings DROP COLUMN payment_kind, DROP COLUMN channel;
