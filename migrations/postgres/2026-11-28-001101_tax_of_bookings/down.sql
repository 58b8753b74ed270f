ALTER TABLE bookings DROP COLUMN tax_basis_points;
