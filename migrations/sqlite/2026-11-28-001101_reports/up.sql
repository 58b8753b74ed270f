-- The tax rate at the time of the sale, in hundredths of a percent. NULL in a row that the release before wrote: the present rate of the
-- theatre applies.
ALTER TABLE bookings ADD COLUMN tax_basis_points INTEGER
    CONSTRAINT bookings_tax_rate CHECK (tax_basis_points BETWEEN 0 AND 5000);

-- Finds the bookings of shows, with all that reports need of them: a show's bookings are scattered over the table.
CREATE INDEX bookings_of_show ON bookings (show_id, status, currency, channel, payment_kind, tax_basis_points);

-- Counts the blocked seats of shows. A booked or held seat has no entry.
CREATE INDEX seat_claims_blocked ON seat_claims (show_id) WHERE status = 'blocked';
