-- What a website may wait for: its due time, its unpublished events, and the session that has its row locked. A row's
-- xmax is the transaction that locks or changes it, or once did; pg_locks shows everybody whether that still runs. Its
-- session and statement PostgreSQL shows to the same role, to superusers and to members of pg_read_all_stats.
SELECT w.provisioning_due_at AS due_at, w.provisioning_published_seq AS published_seq, w.created_at, w.updated_at,
       last.occurred_at AS moved_at, held.pid, holder.application_name, holder.xact_start AS locked_since,
       left(regexp_replace(holder.query, '\s+', ' ', 'g'), 200) AS query
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
  LEFT JOIN LATERAL (SELECT l.pid FROM pg_locks AS l
                      WHERE l.locktype = 'transactionid' AND l.transactionid = w.xmax
                        AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()
                      LIMIT 1) AS held ON true
  LEFT JOIN pg_stat_activity AS holder ON holder.pid = held.pid
 WHERE w.id = $1
