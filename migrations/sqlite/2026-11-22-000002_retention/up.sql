-- Finds the answers that are old enough to go: keys stay for ever, and a sweep must not read them all.
CREATE INDEX idempotency_keys_with_answer ON idempotency_keys (created_at) WHERE answer IS NOT NULL;
-- Finds the refresh tokens that ran out.
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
