-- The whole schema of the main job. DOCUMENTATION.md draws it and says why.

-- Two shows in one hall never overlap: an exclusion constraint over an id and a range needs it.
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- Rolls a batch back if rows are not as they were read. 40001: whoever sent the batch runs it again.
CREATE FUNCTION must(ok boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF ok IS NOT TRUE THEN
        RAISE EXCEPTION 'a row is not as it was read' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT users_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    email text NOT NULL CONSTRAINT users_email_length CHECK (char_length(email) <= 254),
    -- The address as it is compared: folded by the program, because databases fold differently.
    email_folded text NOT NULL CONSTRAINT users_email_unique UNIQUE,
    password_hash text NOT NULL,
    role text NOT NULL CONSTRAINT users_role_known CHECK (role IN ('customer', 'staff', 'admin')),
    -- Raised when all sessions of the account end. Access tokens carry it.
    session_generation bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A session is a family of refresh tokens: each works once and gives the next.
CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY CONSTRAINT refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    session_id bigint NOT NULL REFERENCES sessions,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);

CREATE TABLE movies (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Lists are ordered code point by code point, the same on every store.
    title text COLLATE "C" NOT NULL CONSTRAINT movies_title_unique UNIQUE,
    description text NOT NULL,
    duration_minutes integer NOT NULL CONSTRAINT movies_duration_positive CHECK (duration_minutes > 0),
    genres text[] NOT NULL,
    language text NOT NULL,
    certificate text NOT NULL,
    poster_url text,
    release_date date NOT NULL,
    -- Title, description, genres and language folded for search.
    search_folded text COLLATE "C" NOT NULL,
    genres_folded text[] NOT NULL,
    language_folded text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE theatres (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL CONSTRAINT theatres_name_unique UNIQUE,
    location text NOT NULL,
    -- An IANA name. Which day a show is on is a question to this column.
    timezone text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE halls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    theatre_id bigint NOT NULL REFERENCES theatres,
    name text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT halls_name_unique UNIQUE (theatre_id, name),
    CONSTRAINT halls_of_theatre UNIQUE (theatre_id, id)
);

-- A version of a hall's seats. Immutable once a show uses it: a change makes a new version.
CREATE TABLE layouts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hall_id bigint NOT NULL REFERENCES halls,
    version integer NOT NULL CONSTRAINT layouts_version_positive CHECK (version > 0),
    seats_total integer NOT NULL CONSTRAINT layouts_seats_positive CHECK (seats_total > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT layouts_version_unique UNIQUE (hall_id, version),
    CONSTRAINT layouts_of_hall UNIQUE (hall_id, id)
);

CREATE TABLE seats (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layout_id bigint NOT NULL REFERENCES layouts,
    row_label text NOT NULL CONSTRAINT seats_row_letters CHECK (row_label ~ '^[A-Z]{1,3}$'),
    number integer NOT NULL CONSTRAINT seats_number_positive CHECK (number > 0),
    category text NOT NULL,
    accessible boolean NOT NULL,
    x integer NOT NULL,
    y integer NOT NULL,
    CONSTRAINT seats_number_unique UNIQUE (layout_id, row_label, number),
    CONSTRAINT seats_place_unique UNIQUE (layout_id, x, y),
    CONSTRAINT seats_of_layout UNIQUE (layout_id, id)
);

CREATE TABLE shows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    movie_id bigint NOT NULL REFERENCES movies,
    theatre_id bigint NOT NULL,
    hall_id bigint NOT NULL,
    layout_id bigint NOT NULL,
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    -- When the hall is clean. A stored column: a range over an expression is refused as not immutable.
    hall_free_at timestamptz NOT NULL,
    format text NOT NULL,
    language text NOT NULL,
    currency text NOT NULL CONSTRAINT shows_currency_letters CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL DEFAULT 'scheduled' CONSTRAINT shows_status_known CHECK (status IN ('scheduled', 'cancelled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shows_times_ordered CHECK (start_time < end_time AND end_time <= hall_free_at),
    CONSTRAINT shows_hall_of_theatre FOREIGN KEY (theatre_id, hall_id) REFERENCES halls (theatre_id, id),
    CONSTRAINT shows_layout_of_hall FOREIGN KEY (hall_id, layout_id) REFERENCES layouts (hall_id, id),
    CONSTRAINT shows_of_layout UNIQUE (id, layout_id),
    CONSTRAINT shows_never_overlap
        EXCLUDE USING gist (hall_id WITH =, tstzrange(start_time, hall_free_at) WITH &&) WHERE (status <> 'cancelled')
);
CREATE INDEX shows_by_start ON shows (start_time, id);
CREATE INDEX shows_of_movie ON shows (movie_id, start_time, id);
CREATE INDEX shows_of_theatre ON shows (theatre_id, start_time, id);

CREATE TABLE show_prices (
    show_id bigint NOT NULL REFERENCES shows,
    category text NOT NULL,
    price_minor bigint NOT NULL CONSTRAINT show_prices_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (show_id, category)
);

CREATE TABLE holds (
    id text PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    show_id bigint NOT NULL REFERENCES shows,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX holds_of_user ON holds (user_id, show_id);

-- Ids are reserved in blocks: a committer needs them before it writes. Each nextval is a block of its own.
CREATE SEQUENCE booking_id_blocks INCREMENT BY 1;

CREATE TABLE bookings (
    id bigint PRIMARY KEY,
    reference text NOT NULL
        CONSTRAINT bookings_reference_unique UNIQUE
        CONSTRAINT bookings_reference_crockford CHECK (reference ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
    user_id bigint NOT NULL REFERENCES users,
    -- That the show exists its claims' foreign key says: another one here would cost each booking a check.
    show_id bigint NOT NULL,
    status text NOT NULL CONSTRAINT bookings_status_known
        CHECK (status IN ('pending_payment', 'confirmed', 'cancelled', 'expired', 'refunded')),
    currency text NOT NULL CONSTRAINT bookings_currency_letters CHECK (currency ~ '^[A-Z]{3}$'),
    booked_at timestamptz NOT NULL,
    cancelled_at timestamptz
);
CREATE INDEX bookings_of_user ON bookings (user_id, booked_at DESC, id DESC);

CREATE TABLE booking_seats (
    booking_id bigint NOT NULL REFERENCES bookings,
    seat_id bigint NOT NULL,
    -- The order in which the seats were asked for.
    position smallint NOT NULL,
    category text NOT NULL,
    -- Frozen at the sale.
    price_minor bigint NOT NULL CONSTRAINT booking_seats_price_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (booking_id, seat_id)
);

-- A seat is available unless it is claimed. The primary key is the last word on double booking.
CREATE TABLE seat_claims (
    show_id bigint NOT NULL,
    seat_id bigint NOT NULL,
    layout_id bigint NOT NULL,
    status text NOT NULL,
    user_id bigint,
    booking_id bigint CONSTRAINT seat_claims_of_booking REFERENCES bookings,
    hold_id text,
    expires_at timestamptz,
    PRIMARY KEY (show_id, seat_id),
    CONSTRAINT seat_claims_layout_of_show FOREIGN KEY (show_id, layout_id) REFERENCES shows (id, layout_id),
    CONSTRAINT seat_claims_seat_of_layout FOREIGN KEY (layout_id, seat_id) REFERENCES seats (layout_id, id),
    -- Each claim has an owner, and only holds run out.
    CONSTRAINT seat_claims_owned CHECK (CASE status
        WHEN 'booked' THEN booking_id IS NOT NULL AND user_id IS NOT NULL AND hold_id IS NULL AND expires_at IS NULL
        WHEN 'held' THEN hold_id IS NOT NULL AND user_id IS NOT NULL AND booking_id IS NULL AND expires_at IS NOT NULL
        WHEN 'blocked' THEN booking_id IS NULL AND hold_id IS NULL AND expires_at IS NULL
        ELSE false
    END)
);
CREATE INDEX seat_claims_by_booking ON seat_claims (booking_id) WHERE booking_id IS NOT NULL;

-- A key stays as long as its booking; the answer's bytes as long as IDEMPOTENCY_TTL.
CREATE TABLE idempotency_keys (
    -- That the user exists the booking's foreign key says.
    user_id bigint NOT NULL,
    -- Method and path, like POST /api/bookings.
    scope text NOT NULL,
    key text NOT NULL CONSTRAINT idempotency_keys_length CHECK (char_length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    operation_id bytea NOT NULL CONSTRAINT idempotency_keys_operation_length CHECK (octet_length(operation_id) = 16),
    booking_id bigint NOT NULL,
    answer bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, scope, key)
);

-- What must be told to others, written with what it tells of.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    show_id bigint NOT NULL,
    booking_id bigint,
    -- Which transactions a reader has seen is told by their ids: rows become visible out of order.
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL
);
