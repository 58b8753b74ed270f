DROP TABLE outbox, idempotency_keys, seat_claims, booking_seats, bookings, holds, show_prices, shows, seats, layouts,
    halls, theatres, movies, refresh_tokens, sessions, users;
DROP SEQUENCE booking_id_blocks;
DROP FUNCTION must(boolean);
DROP EXTENSION btree_gist;
