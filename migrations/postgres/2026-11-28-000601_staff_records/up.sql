-- The theatres that a member of staff works for.
CREATE TABLE staff_theatres (
    user_id bigint NOT NULL REFERENCES users,
    theatre_id bigint NOT NULL CONSTRAINT staff_theatres_theatre REFERENCES theatres,
    PRIMARY KEY (user_id, theatre_id)
);

-- Idempotency keys of changes by staff, with their answers, for IDEMPOTENCY_TTL.
CREATE TABLE staff_keys (
    user_id bigint NOT NULL REFERENCES users,
    -- Method and path, like POST /api/admin/movies.
    scope text NOT NULL,
    key text NOT NULL CONSTRAINT staff_keys_length CHECK (char_length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CONSTRAINT staff_keys_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    object_id bigint NOT NULL,
    -- The version of the object after the change.
    version bigint NOT NULL,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, scope, key)
);
CREATE INDEX staff_keys_by_age ON staff_keys (created_at);

-- Who changed what, written in the transaction of the change.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor_id bigint NOT NULL REFERENCES users,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id bigint NOT NULL,
    theatre_id bigint,
    -- The changed fields, JSON objects of texts.
    before text NOT NULL,
    after text NOT NULL,
    request_id text NOT NULL,
    address text NOT NULL
);
CREATE INDEX audit_log_of_object ON audit_log (object_kind, object_id, id);
CREATE INDEX audit_log_of_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_of_theatre ON audit_log (theatre_id, id);
CREATE INDEX audit_log_by_age ON audit_log (at, id);

-- Up to when entries may be deleted: one row, which only moves forward, by AUDIT_TTL.
CREATE TABLE audit_retention (
    id smallint PRIMARY KEY DEFAULT 1 CONSTRAINT audit_retention_single CHECK (id = 1),
    delete_before timestamptz NOT NULL
);
INSERT INTO audit_retention (delete_before) VALUES ('-infinity');

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < (SELECT delete_before FROM audit_retention) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_log_keeps_rows BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_keeps_all BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
