-- Websites on their way that have not moved for that long. Only those with a due time are read, which are few.
SELECT w.id
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS t ON t.website_id = w.id AND t.seq = w.provisioning_seq
 WHERE w.provisioning_due_at IS NOT NULL
   AND w.provisioning_state = ANY ($1::text[]) AND NOT (w.provisioning_state = 'ready' AND NOT w.auto_go_live)
   AND coalesce(t.occurred_at, w.created_at) < now() - $2::float8 * interval '1 second'
 LIMIT $3
