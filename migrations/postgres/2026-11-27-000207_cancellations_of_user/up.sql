-- Finds the cancellations that count towards an account's limit. A booking that is not cancelled has no entry.
CREATE INDEX CONCURRENTLY cancellations_of_user ON bookings (user_id, cancelled_at) WHERE counts_as_cancellation;
