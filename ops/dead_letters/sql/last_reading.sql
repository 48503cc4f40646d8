-- Returns the last reading of a queue, all null where there was none, its age, and whether this role may write another.
SELECT r.began_at, r.ended_at, r.read_by, r.letters, r.beyond_limit, r.outdated,
       extract(epoch FROM clock_timestamp() - r.ended_at)::float8 AS age_seconds,
       has_table_privilege('provisioning_dead_letters', 'INSERT') AS may_write
  FROM (SELECT $1::text AS queue) AS asked LEFT JOIN provisioning_dead_letter_readings AS r ON r.queue = asked.queue
