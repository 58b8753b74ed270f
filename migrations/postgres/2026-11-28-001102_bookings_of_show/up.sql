-- Finds the bookings of shows, in order, with all that reports need of them: a show's bookings are scattered over the table.
CREATE INDEX CONCURRENTLY bookings_of_show ON bookings (show_id, id)
    INCLUDE (status, currency, channel, payment_kind, tax_basis_points);
