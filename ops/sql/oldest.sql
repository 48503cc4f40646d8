-- The website that has been on its way longest, and for how many seconds; one held at ready is not on its way.
SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds
  FROM pwb_websites
 WHERE provisioning_state = ANY ($1::text[]) AND NOT (provisioning_state = 'ready' AND NOT auto_go_live)
 ORDER BY created_at, id
 LIMIT 1
