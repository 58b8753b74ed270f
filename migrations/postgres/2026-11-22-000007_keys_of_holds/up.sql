-- A key remembers a booking or a hold. NOT VALID: that each key that is there has a booking its column has said so far.
ALTER TABLE idempotency_keys
    ALTER COLUMN booking_id DROP NOT NULL,
    ADD COLUMN hold_id text,
    ADD CONSTRAINT idempotency_keys_made CHECK (num_nonnulls(booking_id, hold_id) = 1) NOT VALID;
