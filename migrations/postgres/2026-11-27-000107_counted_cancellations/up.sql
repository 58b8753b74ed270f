-- Whether a booking's cancellation counts towards its owner's limit: the owner cancelled it, and its show took place. What the
-- house cancels does not count, nor does what was cancelled before. A constant default: no row is written, and the lock is held
-- for a moment.
ALTER TABLE bookings ADD COLUMN counts_as_cancellation boolean NOT NULL DEFAULT false;
