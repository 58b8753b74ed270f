DELETE FROM idempotency_keys WHERE booking_id IS NULL;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_made, DROP COLUMN hold_id, ALTER COLUMN booking_id SET NOT NULL;
