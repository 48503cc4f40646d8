-- The websites with a due time, up to a bound, those due first. One that waits for no delayed attempt is under way: its
-- age is the time since its last transition; past $2 seconds it is stuck.
WITH owed AS (
    SELECT id, provisioning_seq, provisioning_attempts, provisioning_due_at, created_at
      FROM pwb_websites
     WHERE provisioning_due_at IS NOT NULL
     ORDER BY provisioning_due_at
     LIMIT $1
), aged AS MATERIALIZED (
    SELECT o.provisioning_due_at AS due_at, o.provisioning_attempts > 0 AS waiting,
           coalesce((SELECT t.occurred_at FROM provisioning_transitions AS t
                      WHERE t.website_id = o.id AND t.seq = o.provisioning_seq), o.created_at) AS since
      FROM owed AS o
)
SELECT count(*) AS owed,
       count(*) FILTER (WHERE waiting) AS waiting,
       count(*) FILTER (WHERE due_at <= now()) AS due,
       count(*) FILTER (WHERE NOT waiting AND since < now() - $2::float8 * interval '1 second') AS stuck,
       coalesce(extract(epoch FROM now() - min(since) FILTER (WHERE NOT waiting)), 0)::float8 AS oldest_seconds,
       greatest(coalesce(extract(epoch FROM now() - min(due_at)), 0), 0)::float8 AS overdue_seconds
  FROM aged
