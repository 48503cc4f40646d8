-- How many of these websites are at rest: nothing but people moves them.
SELECT count(*)
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
   AND (provisioning_state = ANY ($2::text[]) OR (provisioning_state = 'ready' AND NOT provisioning_auto_go_live))
