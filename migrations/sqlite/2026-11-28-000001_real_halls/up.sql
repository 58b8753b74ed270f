-- Halls with rows of any name, sections and love seats. The release before writes rows of letters without them.

-- SQLite changes no CHECK, so the table is made again. Claims refer to its rows: their foreign keys are checked at the commit, when the
-- rows are back. The sequence of ids is kept, also past deleted seats.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_seats AS SELECT id, layout_id, row_label, number, category, accessible, x, y FROM seats;
CREATE TABLE old_seats_sequence AS SELECT seq FROM sqlite_sequence WHERE name = 'seats';
DROP TABLE seats;
CREATE TABLE seats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    layout_id INTEGER NOT NULL REFERENCES layouts,
    row_label TEXT NOT NULL CONSTRAINT seats_row_length CHECK (length(row_label) BETWEEN 1 AND 20),
    number INTEGER NOT NULL CONSTRAINT seats_number_positive CHECK (number > 0),
    category TEXT NOT NULL,
    accessible INTEGER NOT NULL CONSTRAINT seats_accessible_boolean CHECK (accessible IN (0, 1)),
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    -- The part of the hall, like Balcony. Empty for the main one.
    section TEXT NOT NULL DEFAULT '' CONSTRAINT seats_section_length CHECK (length(section) <= 50),
    -- Two seats of a layout with one number are a love seat, and are sold together only.
    pair INTEGER CONSTRAINT seats_pair_positive CHECK (pair > 0),
    CONSTRAINT seats_number_unique UNIQUE (layout_id, row_label, number),
    CONSTRAINT seats_place_unique UNIQUE (layout_id, x, y),
    CONSTRAINT seats_of_layout UNIQUE (layout_id, id)
) STRICT;
INSERT INTO seats (id, layout_id, row_label, number, category, accessible, x, y)
SELECT id, layout_id, row_label, number, category, accessible, x, y FROM old_seats ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'seats';
INSERT INTO sqlite_sequence (name, seq) SELECT 'seats', seq FROM old_seats_sequence;
DROP TABLE old_seats_sequence;
DROP TABLE old_seats;

-- Where the view is best in a section. A section without a row has no focal point of its own.
CREATE TABLE layout_sections (
    layout_id INTEGER NOT NULL REFERENCES layouts,
    name TEXT NOT NULL CONSTRAINT layout_sections_name_length CHECK (length(name) <= 50),
    focus_x INTEGER,
    focus_y INTEGER,
    PRIMARY KEY (layout_id, name),
    CONSTRAINT layout_sections_focus_whole CHECK ((focus_x IS NULL) = (focus_y IS NULL))
) STRICT, WITHOUT ROWID;
