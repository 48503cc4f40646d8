-- Sessions that hold or wait for a lock that keeps everybody from reading one of these tables, for so many seconds.
SELECT c.relname AS name, l.pid, coalesce(nullif(a.application_name, ''), a.usename, 'unknown') AS who, l.granted,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
  FROM unnest($1::text[]) AS wanted (name)
  JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
  JOIN pg_locks AS l ON l.relation = c.oid AND l.mode = 'AccessExclusiveLock'
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.pid <> pg_backend_pid()
   AND coalesce(a.xact_start < clock_timestamp() - $2 * interval '1 second', true)
 ORDER BY l.granted DESC, a.xact_start
