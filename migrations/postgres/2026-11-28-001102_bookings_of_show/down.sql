DROP INDEX bookings_of_show;
