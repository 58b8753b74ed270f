DROP INDEX cancellations_of_user;
