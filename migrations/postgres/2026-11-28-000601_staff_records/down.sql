DROP TABLE audit_retention;
DROP TABLE audit_log;
DROP FUNCTION audit_log_is_append_only();
DROP TABLE staff_keys;
DROP TABLE staff_theatres;
