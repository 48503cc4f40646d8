-- Which of these websites still move by themselves: neither at rest nor waiting for a delayed attempt.
SELECT id
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
   AND provisioning_attempts = 0
   AND provisioning_state <> ALL ($2::text[])
   AND NOT (provisioning_state = 'ready' AND NOT provisioning_auto_go_live)
