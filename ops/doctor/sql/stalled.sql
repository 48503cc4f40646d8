-- Websites under way that have not moved for that long. Only those with a due time are read, which are few. One that
-- this service has not begun to provision is the existing product's for ten minutes after each change.
SELECT w.id
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS t ON t.website_id = w.id AND t.seq = w.provisioning_seq
 WHERE w.provisioning_due_at IS NOT NULL
   AND w.provisioning_state = ANY ($1::text[]) AND NOT (w.provisioning_state = 'ready' AND NOT w.provisioning_auto_go_live)
   AND CASE WHEN w.provisioning_seq > 0 OR w.provisioning_attempts > 0 OR w.provisioning_request IS NOT NULL
            THEN coalesce(t.occurred_at, w.created_at)
            ELSE greatest(w.created_at, w.updated_at) + interval '10 minutes' END < now() - $2::float8 * interval '1 second'
 LIMIT $3
