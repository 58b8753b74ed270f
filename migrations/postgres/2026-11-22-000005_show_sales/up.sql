-- One table that bookings use in each migration: two in one transaction could wait in a circle with a booking that has the one and
-- wants the other. No row is written or checked again: the lock is held for a moment.

-- From when on a show is sold, and until when, if that is before it begins.
ALTER TABLE shows ADD COLUMN sales_open_at timestamptz, ADD COLUMN sales_close_at timestamptz;
