-- Halls with rows of any name, sections and love seats. The release before writes rows of letters without them.

ALTER TABLE seats
    -- The part of the hall, like Balcony. Empty for the main one.
    ADD COLUMN section text NOT NULL DEFAULT '' CONSTRAINT seats_section_length CHECK (char_length(section) <= 50),
    -- Two seats of a layout with one number are a love seat, and are sold together only.
    ADD COLUMN pair integer CONSTRAINT seats_pair_positive CHECK (pair > 0),
    DROP CONSTRAINT seats_row_letters,
    ADD CONSTRAINT seats_row_length CHECK (char_length(row_label) BETWEEN 1 AND 20);

-- Where the view is best in a section. A section without a row has no focal point of its own.
CREATE TABLE layout_sections (
    layout_id bigint NOT NULL REFERENCES layouts,
    name text NOT NULL CONSTRAINT layout_sections_name_length CHECK (char_length(name) <= 50),
    focus_x integer,
    focus_y integer,
    PRIMARY KEY (layout_id, name),
    CONSTRAINT layout_sections_focus_whole CHECK ((focus_x IS NULL) = (focus_y IS NULL))
);
