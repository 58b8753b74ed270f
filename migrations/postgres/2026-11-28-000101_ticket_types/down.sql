ALTER TABLE booking_seats DROP COLUMN ticket_type;
ALTER TABLE hold_seats DROP COLUMN ticket_type;
DELETE FROM show_prices WHERE ticket_type <> 'adult';
ALTER TABLE show_prices DROP CONSTRAINT show_prices_pkey;
ALTER TABLE show_prices DROP COLUMN ticket_type;
ALTER TABLE show_prices ADD CONSTRAINT show_prices_pkey PRIMARY KEY (show_id, category);
DROP TABLE ticket_types;
