ALTER TABLE bookings DROP COLUMN payment_kind;
ALTER TABLE bookings DROP COLUMN channel;
