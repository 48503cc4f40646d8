-- Websites that were on their way before this service came, and that nobody has signed up here.
SELECT id
  FROM pwb_websites
 WHERE provisioning_due_at IS NULL AND provisioning_seq = 0 AND provisioning_state = ANY ($1::text[])
   AND NOT (provisioning_state = 'ready' AND NOT auto_go_live)
 LIMIT $2
