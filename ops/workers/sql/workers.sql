-- The worker processes that are known, how long ago each was seen, and who has paused it.
SELECT w.id, w.host, w.pid, w.version, w.since, w.seen_at, w.in_flight, w.paused, w.last_delivery_at,
       extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS unseen_seconds,
       p.actor, p.reason, p.since AS paused_since
  FROM provisioning_workers AS w
  LEFT JOIN LATERAL (SELECT actor, reason, since
                       FROM provisioning_pauses
                      WHERE worker IN ('all', w.id::text)
                      ORDER BY worker = 'all' DESC
                      LIMIT 1) AS p ON true
 ORDER BY w.host, w.pid, w.since
