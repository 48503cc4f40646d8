-- The columns of a website's status, less its counts of rows, and to which state its last log row led.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.provisioning_skip_properties AS skip_properties,
       w.provisioning_auto_go_live AS auto_go_live, w.provisioning_state,
       w.provisioning_error, w.provisioning_attempt_error, w.provisioning_failed_from, w.provisioning_seq,
       w.provisioning_attempts, w.provisioning_due_at, w.provisioning_started_at, w.provisioning_completed_at,
       w.provisioning_failed_at, w.created_at, w.provisioning_request IS NOT NULL AS requested,
       w.provisioning_request ->> 'erased' AS erased_at, last.to_state AS last_state
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
 WHERE w.id = ANY ($1::bigint[])
 ORDER BY w.id
