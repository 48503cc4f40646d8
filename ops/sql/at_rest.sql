-- How many of these websites wait for nothing but people.
SELECT count(*)
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
   AND (provisioning_state = ANY ($2::text[]) OR (provisioning_state = 'ready' AND NOT auto_go_live))
