-- Writes a worker process's row, deletes the rows of processes not seen for long, and returns the pause in force for
-- it, that of all workers first. Times are the database's own, so that rows of all hosts compare.
WITH gone AS (
    DELETE FROM provisioning_workers
     WHERE id IN (SELECT id FROM provisioning_workers
                   WHERE seen_at < now() - $9::float8 * interval '1 second' AND id <> $1
                     FOR UPDATE SKIP LOCKED)
), here AS (
    INSERT INTO provisioning_workers AS w (id, host, pid, version, since, in_flight, paused, last_delivery_at)
    VALUES ($1::uuid, $2, $3, $4, now() - $5::float8 * interval '1 second', $6, $7,
            now() - $8::float8 * interval '1 second')
    ON CONFLICT (id) DO UPDATE
       SET seen_at = now(), in_flight = excluded.in_flight, paused = excluded.paused,
           last_delivery_at = excluded.last_delivery_at
)
SELECT worker, actor, since
  FROM provisioning_pauses
 WHERE worker IN ('all', $1::uuid::text)
 ORDER BY worker = 'all' DESC
 LIMIT 1
