-- How long recent websites took from each state until they were live: those that nobody moved after they signed up, that never
-- failed, and that took less than a day: others slept before somebody started them.
WITH recent AS (
    SELECT id, created_at FROM pwb_websites ORDER BY id DESC LIMIT $1
), went AS (
    SELECT t.website_id, r.created_at, max(t.occurred_at) FILTER (WHERE t.to_state = 'live') AS live_at
      FROM recent AS r
      JOIN provisioning_transitions AS t ON t.website_id = r.id
     GROUP BY t.website_id, r.created_at
    -- Of a history whose beginning was pruned it is not known.
    HAVING min(t.seq) = 1 AND bool_and((t.actor IS NULL OR t.seq = 1) AND t.to_state <> 'failed')
       AND max(t.occurred_at) FILTER (WHERE t.to_state = 'live')
           BETWEEN now() - interval '1 day' AND r.created_at + interval '1 day'
)
SELECT state, array_agg(extract(epoch FROM live_at - since)::float8) AS seconds
  FROM (SELECT t.to_state AS state, w.live_at, t.occurred_at AS since
          FROM went AS w
          JOIN provisioning_transitions AS t ON t.website_id = w.website_id
         WHERE t.to_state <> 'live'
         UNION ALL
        SELECT 'pending', live_at, created_at FROM went) AS entered
 GROUP BY state
