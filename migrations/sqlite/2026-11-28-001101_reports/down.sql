DROP INDEX seat_claims_blocked;
DROP INDEX bookings_of_show;
ALTER TABLE bookings DROP COLUMN tax_basis_points;
