-- What was imported from the API that this system replaces, so that a second import adds only what is new. Without foreign keys: a row that
-- is deleted here is not imported again.
CREATE TABLE express_imports (
    kind text NOT NULL CONSTRAINT express_imports_kind_known CHECK (kind IN ('user', 'movie', 'theatre', 'show', 'booking')),
    old_id bigint NOT NULL,
    new_id bigint NOT NULL,
    PRIMARY KEY (kind, old_id)
);
