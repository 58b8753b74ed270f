-- When tables are vacuumed that keep what was ever sold. PostgreSQL's defaults wait until a fifth of a table is dead or new. These
-- tables grow each year, and what changes in them is always the newest part: a fifth of all would be all of what is on sale.
-- Setting this locks nobody out.

-- Claims come and go on the shows on sale, and stay on those that are over. Each seat map reads its show's claims by the primary
-- key, past the dead ones until they are vacuumed. Rows are inserted and deleted, never updated: a fillfactor would be room for
-- nobody.
ALTER TABLE seat_claims SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 1000
);

-- The sweep writes each row once more, without its answer; the room of the answer is the next one's once it is vacuumed. The
-- index over those with an answer has to change with it, so a fillfactor would save nothing here either.
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- A queue: rows come at one end and go at the other. Whoever looks for the oldest row walks over the dead ones before it.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- Each refresh marks one row as used, and adds one. No indexed column changes: with room on its page, such an update leaves the
-- indexes alone.
ALTER TABLE refresh_tokens SET (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, fillfactor = 90
);
