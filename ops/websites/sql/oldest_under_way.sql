-- The website that has been under way longest, and for how many seconds. One that is held at ready is at rest, and for one
-- without a due time nothing is under way.
SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds
  FROM pwb_websites
 WHERE provisioning_due_at IS NOT NULL AND provisioning_state = ANY ($1::text[])
   AND NOT (provisioning_state = 'ready' AND NOT provisioning_auto_go_live)
 ORDER BY created_at, id
 LIMIT 1
