-- Counts the blocked seats of shows. A booked or held seat has no entry.
CREATE INDEX CONCURRENTLY seat_claims_blocked ON seat_claims (show_id) WHERE status = 'blocked';
