-- What status shows of websites, less what is counted.
SELECT id, subdomain, site_type, seed_pack_name, skip_properties, auto_go_live, provisioning_state,
       provisioning_error, provisioning_attempt_error, provisioning_failed_from, provisioning_seq,
       provisioning_attempts, provisioning_due_at, provisioning_started_at, provisioning_completed_at,
       provisioning_failed_at
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
 ORDER BY id
