DROP TABLE layout_sections;
-- Fails while a layout has rows with other names: delete its shows and the layout first.
ALTER TABLE seats
    DROP CONSTRAINT seats_row_length,
    ADD CONSTRAINT seats_row_letters CHECK (row_label ~ '^[A-Z]{1,3}$'),
    DROP COLUMN pair,
    DROP COLUMN section;
