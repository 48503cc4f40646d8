-- Claims websites whose due time has come: the one mechanism behind delayed retries, rescues and last events. Any
-- number of dispatchers may do it at once. A rescue waits twice as long as the one before, so that a backlog is not
-- fed, but never longer than an hour; the command of a delayed attempt waits no longer than the stall. The due time is
-- never null here, so that a dispatcher that dies after this statement has lost nothing.
WITH due AS (
    SELECT id
      FROM pwb_websites
     WHERE provisioning_due_at <= now()
     ORDER BY provisioning_due_at
     LIMIT $1
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE pwb_websites AS w
   SET provisioning_due_at = now() + CASE
           WHEN w.provisioning_attempts > 0 THEN $2::float8 * interval '1 second'
           ELSE greatest($2::float8 * interval '1 second',
                         least(interval '1 hour',
                               now() - coalesce((SELECT t.occurred_at FROM provisioning_transitions AS t
                                                  WHERE t.website_id = w.id AND t.seq = w.provisioning_seq),
                                                w.created_at)))
           END
  FROM due
 WHERE w.id = due.id
RETURNING w.id, w.provisioning_state, w.provisioning_seq, w.provisioning_published_seq, w.provisioning_attempts,
          w.provisioning_skip_properties AS skip_properties, w.provisioning_auto_go_live AS auto_go_live
