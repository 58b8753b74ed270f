DROP INDEX refresh_tokens_by_expiry;
DROP INDEX idempotency_keys_with_answer;
