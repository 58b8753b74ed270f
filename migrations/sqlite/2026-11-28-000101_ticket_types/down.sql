ALTER TABLE booking_seats DROP COLUMN ticket_type;
ALTER TABLE hold_seats DROP COLUMN ticket_type;
CREATE TABLE old_show_prices (
    show_id INTEGER NOT NULL REFERENCES shows,
    category TEXT NOT NULL,
    price_minor INTEGER NOT NULL CONSTRAINT show_prices_not_negative CHECK (price_minor >= 0),
    PRIMARY KEY (show_id, category)
) STRICT, WITHOUT ROWID;
INSERT INTO old_show_prices (show_id, category, price_minor)
SELECT show_id, category, price_minor FROM show_prices WHERE ticket_type = 'adult';
DROP TABLE show_prices;
ALTER TABLE old_show_prices RENAME TO show_prices;
DROP TABLE ticket_types;
