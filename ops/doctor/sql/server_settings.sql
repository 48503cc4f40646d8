-- A PostgreSQL's settings and figures, and those of this session, which is made as the workers make theirs.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_number,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit, current_setting('autovacuum') AS autovacuum,
       pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS read_only,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'lock_timeout') AS lock_timeout_seconds,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout_seconds,
       (SELECT setting::float8 / 1000 FROM pg_settings
         WHERE name = 'idle_in_transaction_session_timeout') AS idle_transaction_seconds,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'idle_session_timeout') AS idle_session_seconds,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'transaction_timeout') AS transaction_seconds,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS connections,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser, current_user::text AS role,
       (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database) AS connected,
       (SELECT count(*)::int FROM pg_stat_activity
         WHERE application_name = current_setting('application_name')) AS connected_ours,
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float8 FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest_transaction_seconds,
       extract(epoch FROM clock_timestamp())::float8 AS clock
