DROP INDEX seat_claims_blocked;
