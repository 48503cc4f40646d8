-- Who keeps a session from a lock, and what that is on: sessions before it in its queue too. Of a statement only its first
-- word, since the rest may hold personal data. A role that may not see others' sessions is shown their ids and owners.
SELECT holder.pid, a.usename::text AS role, nullif(a.application_name, '') AS application,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::float8 AS seconds,
       upper(substring(regexp_replace(a.query, '^(\s+|/\*.*?\*/|--[^\n]*(\n|$))*', '') FROM '^[A-Za-z]+')) AS statement,
       (SELECT min(l.relation::regclass::text) FROM pg_locks AS l WHERE l.pid = $1 AND NOT l.granted) AS relation
  FROM unnest(pg_blocking_pids($1)) AS holder (pid)
  LEFT JOIN pg_stat_activity AS a ON a.pid = holder.pid
 ORDER BY 4 DESC NULLS LAST
