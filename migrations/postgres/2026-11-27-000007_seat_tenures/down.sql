DROP INDEX holds_of_user_by_expiry;
DROP TABLE seat_tenures;
