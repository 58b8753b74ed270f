-- The tax rate at the time of the sale, in hundredths of a percent. NULL in a row that the release before wrote: the present rate of the
-- theatre applies. NOT VALID: the rows that exist have none, and are not scanned.
ALTER TABLE bookings ADD COLUMN tax_basis_points integer;
ALTER TABLE bookings
    ADD CONSTRAINT bookings_tax_rate CHECK (tax_basis_points BETWEEN 0 AND 5000) NOT VALID;
