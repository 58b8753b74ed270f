DROP TABLE booking_events;
DROP TABLE seat_blocks;
ALTER TABLE theatres DROP COLUMN box_office_user_id;
DELETE FROM idempotency_keys WHERE show_id IS NOT NULL;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_made;
ALTER TABLE idempotency_keys DROP COLUMN show_id;
ALTER TABLE idempotency_keys
    ADD CONSTRAINT idempotency_keys_made CHECK (num_nonnulls(booking_id, hold_id) = 1) NOT VALID;
