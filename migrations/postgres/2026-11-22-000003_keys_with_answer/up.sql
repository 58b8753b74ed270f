-- Finds the answers that are old enough to go. Keys stay for ever: without it each sweep would read all that was ever sold. An
-- entry goes with its answer, so the index is as large as what was sold within IDEMPOTENCY_TTL.
CREATE INDEX CONCURRENTLY idempotency_keys_with_answer ON idempotency_keys (created_at) WHERE answer IS NOT NULL;
