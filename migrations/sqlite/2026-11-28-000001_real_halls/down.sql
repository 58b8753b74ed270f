DROP TABLE layout_sections;
-- Fails while a layout has rows with other names: delete its shows and the layout first.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_seats AS SELECT id, layout_id, row_label, number, category, accessible, x, y FROM seats;
CREATE TABLE old_seats_sequence AS SELECT seq FROM sqlite_sequence WHERE name = 'seats';
DROP TABLE seats;
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
INSERT INTO seats (id, layout_id, row_label, number, category, accessible, x, y)
SELECT id, layout_id, row_label, number, category, accessible, x, y FROM old_seats ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'seats';
INSERT INTO sqlite_sequence (name, seq) SELECT 'seats', seq FROM old_seats_sequence;
DROP TABLE old_seats_sequence;
DROP TABLE old_seats;
