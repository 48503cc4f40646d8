-- Sets the passwords of the four roles, from the environment of psql (15 or newer); the statements are not logged.
--
--     MIGRATE_PASSWORD=… WORKER_PASSWORD=… OPS_PASSWORD=… READER_PASSWORD=… psql -f passwords.sql

\set ON_ERROR_STOP on
\getenv migrate MIGRATE_PASSWORD
\getenv worker WORKER_PASSWORD
\getenv ops OPS_PASSWORD
\getenv reader READER_PASSWORD

SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

ALTER ROLE provisioner_migrate PASSWORD :'migrate';
ALTER ROLE provisioner_worker PASSWORD :'worker';
ALTER ROLE provisioner_ops PASSWORD :'ops';
ALTER ROLE provisioner_reader PASSWORD :'reader';
