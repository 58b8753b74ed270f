-- Finds the refresh tokens that ran out.
CREATE INDEX CONCURRENTLY refresh_tokens_by_expiry ON refresh_tokens (expires_at);
