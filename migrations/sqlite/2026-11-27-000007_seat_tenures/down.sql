DROP INDEX cancellations_of_user;
ALTER TABLE bookings DROP COLUMN counts_as_cancellation;
DROP INDEX holds_of_user_by_expiry;
DROP TABLE seat_tenures;
