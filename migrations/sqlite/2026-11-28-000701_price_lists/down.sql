DROP TABLE price_lists;
ALTER TABLE ticket_types DROP COLUMN search_folded;
