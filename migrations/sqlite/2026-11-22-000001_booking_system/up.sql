-- The whole schema of the main job, as PostgreSQL has it: the same tables, columns and constraints. DOCUMENTATION.md draws it
-- and says why.
--
-- What SQLite has no type for: instants are INTEGER microseconds since the Unix epoch in UTC, dates TEXT 'YYYY-MM-DD',
-- lists TEXT JSON arrays, booleans INTEGER 0 or 1. The present instant is the program's: this clock never goes backwards.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CONSTRAINT users_name_length CHECK (length(name) BETWEEN 1 AND 100),
    email TEXT NOT NULL CONSTRAINT users_email_length CHECK (length(email) <= 254),
    -- The address as it is compared: folded by the program, because databases fold differently.
    email_folded TEXT NOT NULL CONSTRAINT users_email_unique UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CONSTRAINT users_role_known CHECK (role IN ('customer', 'staff', 'admin')),
    -- Raised when all sessions of the account end. Access tokens carry it.
    session_generation INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT;

-- A session is a family of refresh tokens: each works once and gives the next.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    token_hash BLOB NOT NULL PRIMARY KEY CONSTRAINT refresh_tokens_hash_length CHECK (length(token_hash) = 32),
    session_id INTEGER NOT NULL REFERENCES sessions,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);

CREATE TABLE movies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Lists are ordered code point by code point, the same on every store.
    title TEXT COLLATE BINARY NOT NULL CONSTRAINT movies_title_unique UNIQUE,
    description TEXT NOT NULL,
    duration_minutes INTEGER NOT NULL CONSTRAINT movies_duration_positive CHECK (duration_minutes > 0),
    genres TEXT NOT NULL CONSTRAINT movies_genres_list CHECK (json_valid(genres) AND json_type(genres) = 'array'),
    language TEXT NOT NULL,
    certificate TEXT NOT NULL,
    poster_url TEXT,
    release_date TEXT NOT NULL CONSTRAINT movies_release_date_day
        CHECK (release_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    -- Title, description, genres and language folded for search.
    search_folded TEXT NOT NULL,
    genres_folded TEXT NOT NULL CONSTRAINT movies_genres_folded_list
        CHECK (json_valid(genres_folded) AND json_type(genres_folded) = 'array'),
    language_folded TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE theatres (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT COLLATE BINARY NOT NULL CONSTRAINT theatres_name_unique UNIQUE,
    location TEXT NOT NULL,
    -- An IANA name. Which day a show is on is a question to this column.
    timezone TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE halls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    theatre_id INTEGER NOT NULL REFERENCES theatres,
    name TEXT COLLATE BINARY NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT halls_name_unique UNIQUE (theatre_id, name),
    CONSTRAINT halls_of_theatre UNIQUE (theatre_id, id)
) STRICT;

-- A version of a hall's seats. Immutable once a show uses it: a change makes a new version.
CREATE TABLE layouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hall_id INTEGER NOT NULL REFERENCES halls,
    version INTEGER NOT NULL CONSTRAINT layouts_version_positive CHECK (version > 0),
    seats_total INTEGER NOT NULL CONSTRAINT layouts_seats_positive CHECK (seats_total > 0),
    created_at INTEGER NOT NULL,
    CONSTRAINT layouts_version_unique UNIQUE (hall_id, version),
    CONSTRAINT layouts_of_hall UNIQUE (hall_id, id)
) STRICT;

CREATE TABLE seats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    layout_id INTEGER NOT NULL REFERENCES layouts,
    row_label TEXT NOT NULL CONSTRAINT seats_row_letters
        CHECK (length(row_label) BETWEEN 1 AND 3 AND row_label NOT GLOB '*[^A-Z]*'),
    number INTEGER NOT NULL CONSTRAINT seats_number_positive CHECK (number > 0),
    category TEXT NOT NULL,
    accessible INTEGER NOT NULL CONSTRAINT seats_accessible_boolean CHECK (accessible IN (0, 1)),
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    CONSTRAINT seats_number_unique UNIQUE (layout_id, row_label, number),
    CONSTRAINT seats_place_unique UNIQUE (layout_id, x, y),
    CONSTRAINT seats_of_layout UNIQUE (layout_id, id)
) STRICT;

CREATE TABLE shows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    movie_id INTEGER NOT NULL REFERENCES movies,
    theatre_id INTEGER NOT NULL,
    hall_id INTEGER NOT NULL,
    layout_id INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    end_time INTEGER NOT NULL,
    -- When the hall is clean, and the next show may begin.
    hall_free_at INTEGER NOT NULL,
    format TEXT NOT NULL,
    language TEXT NOT NULL,
    currency TEXT NOT NULL CONSTRAINT shows_currency_letters CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    status TEXT NOT NULL DEFAULT 'scheduled' CONSTRAINT shows_status_known CHECK (status IN ('scheduled', 'cancelled')),
    created_at INTEGER NOT NULL,
    CONSTRAINT shows_times_ordered CHECK (start_time < end_time AND end_time <= hall_free_at),
    CONSTRAINT shows_hall_of_theatre FOREIGN KEY (theatre_id, hall_id) REFERENCES halls (theatre_id, id),
    CONSTRAINT shows_layout_of_hall FOREIGN KEY (hall_id, layout_id) REFERENCES layouts (hall_id, id),
    CONSTRAINT shows_of_layout UNIQUE (id, layout_id)
) STRICT;
CREATE INDEX shows_by_start ON shows (start_time, id);
CREATE INDEX shows_of_movie ON shows (movie_id, start_time, id);
CREATE INDEX shows_of_theatre ON shows (theatre_id, start_time, id);
CREATE INDEX shows_of_hall ON shows (hall_id, start_time) WHERE status <> 'cancelled';

-- Two shows in one hall never overlap. Those that are there don't, so of the shows that begin before the new one's end the
-- last to begin is the last to end: it alone has to be looked at.
CREATE TRIGGER shows_never_overlap_on_insert BEFORE INSERT ON shows WHEN NEW.status <> 'cancelled'
BEGIN
    SELECT RAISE(ABORT, 'shows_never_overlap') WHERE (
        SELECT other.hall_free_at FROM shows AS other
        WHERE other.hall_id = NEW.hall_id AND other.status <> 'cancelled' AND other.start_time < NEW.hall_free_at
        ORDER BY other.start_time DESC LIMIT 1
    ) > NEW.start_time;
END;

CREATE TRIGGER shows_never_overlap_on_update BEFORE UPDATE ON shows WHEN NEW.status <> 'cancelled'
BEGIN
    SELECT RAISE(ABORT, 'shows_never_overlap') WHERE (
        SELECT other.hall_free_at FROM shows AS other
        WHERE other.hall_id = NEW.hall_id AND other.status <> 'cancelled' AND other.start_time < NEW.hall_free_at
            AND other.id <> OLD.id
        ORDER BY other.start_time DESC LIMIT 1
    ) > NEW.start_time;
END;

CREATE TABLE show_prices (
    show_id INTEGER NOT NULL REFERENCES shows,
    category TEXT NOT NULL,
    price_minor INTEGER NOT NULL CONSTRAINT show_prices_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (show_id, category)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    id TEXT NOT NULL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users,
    show_id INTEGER NOT NULL REFERENCES shows,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX holds_of_user ON holds (user_id, show_id);

-- Ids are reserved in blocks: a committer needs them before it writes. `next` is the first id of the next block.
CREATE TABLE id_blocks (
    name TEXT NOT NULL PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO id_blocks (name, next) VALUES ('bookings', 1);

CREATE TABLE bookings (
    id INTEGER PRIMARY KEY NOT NULL,
    reference TEXT NOT NULL
        CONSTRAINT bookings_reference_unique UNIQUE
        CONSTRAINT bookings_reference_crockford
            CHECK (length(reference) = 10 AND reference NOT GLOB '*[^0-9A-HJKMNP-TV-Z]*'),
    user_id INTEGER NOT NULL REFERENCES users,
    -- That the show exists its claims' foreign key says.
    show_id INTEGER NOT NULL,
    status TEXT NOT NULL CONSTRAINT bookings_status_known
        CHECK (status IN ('pending_payment', 'confirmed', 'cancelled', 'expired', 'refunded')),
    currency TEXT NOT NULL CONSTRAINT bookings_currency_letters CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    booked_at INTEGER NOT NULL,
    cancelled_at INTEGER
) STRICT;
CREATE INDEX bookings_of_user ON bookings (user_id, booked_at DESC, id DESC);

CREATE TABLE booking_seats (
    booking_id INTEGER NOT NULL REFERENCES bookings,
    seat_id INTEGER NOT NULL,
    -- The order in which the seats were asked for.
    position INTEGER NOT NULL,
    category TEXT NOT NULL,
    -- Frozen at the sale.
    price_minor INTEGER NOT NULL CONSTRAINT booking_seats_price_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (booking_id, seat_id)
) STRICT, WITHOUT ROWID;

-- A seat is available unless it is claimed. The primary key is the last word on double booking.
CREATE TABLE seat_claims (
    show_id INTEGER NOT NULL,
    seat_id INTEGER NOT NULL,
    layout_id INTEGER NOT NULL,
    status TEXT NOT NULL,
    user_id INTEGER,
    booking_id INTEGER CONSTRAINT seat_claims_of_booking REFERENCES bookings,
    hold_id TEXT,
    expires_at INTEGER,
    PRIMARY KEY (show_id, seat_id),
    CONSTRAINT seat_claims_layout_of_show FOREIGN KEY (show_id, layout_id) REFERENCES shows (id, layout_id),
    CONSTRAINT seat_claims_seat_of_layout FOREIGN KEY (layout_id, seat_id) REFERENCES seats (layout_id, id),
    -- Each claim has an owner, and only holds run out.
    CONSTRAINT seat_claims_owned CHECK (CASE status
        WHEN 'booked' THEN booking_id IS NOT NULL AND user_id IS NOT NULL AND hold_id IS NULL AND expires_at IS NULL
        WHEN 'held' THEN hold_id IS NOT NULL AND user_id IS NOT NULL AND booking_id IS NULL AND expires_at IS NOT NULL
        WHEN 'blocked' THEN booking_id IS NULL AND hold_id IS NULL AND expires_at IS NULL
        ELSE 0
    END)
) STRICT, WITHOUT ROWID;
CREATE INDEX seat_claims_by_booking ON seat_claims (booking_id) WHERE booking_id IS NOT NULL;

-- A key stays as long as its booking; the answer's bytes as long as IDEMPOTENCY_TTL.
CREATE TABLE idempotency_keys (
    -- That the user exists the booking's foreign key says.
    user_id INTEGER NOT NULL,
    -- Method and path, like POST /api/bookings.
    scope TEXT NOT NULL,
    key TEXT NOT NULL CONSTRAINT idempotency_keys_length CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint BLOB NOT NULL CONSTRAINT idempotency_keys_fingerprint_length CHECK (length(fingerprint) = 32),
    operation_id BLOB NOT NULL CONSTRAINT idempotency_keys_operation_length CHECK (length(operation_id) = 16),
    booking_id INTEGER NOT NULL,
    answer BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, scope, key)
) STRICT;

-- What must be told to others, written with what it tells of. One writer at a time: rows become visible in the order of
-- their ids.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    show_id INTEGER NOT NULL,
    booking_id INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
