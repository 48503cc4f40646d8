-- Websites that have a step before them and no due time: nothing is under way for them, and nothing sends the step. One
-- that is held at ready rests. `ours`: this service has begun to provision it.
SELECT id, provisioning_seq > 0 OR provisioning_attempts > 0 OR provisioning_request IS NOT NULL AS ours
  FROM pwb_websites
 WHERE provisioning_due_at IS NULL AND provisioning_state = ANY ($1::text[])
   AND NOT (provisioning_state = 'ready' AND NOT provisioning_auto_go_live)
 ORDER BY id
 LIMIT $2
