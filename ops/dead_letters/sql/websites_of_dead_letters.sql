-- The websites of dead letters as they are now, with the columns that the workers read under their lock.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.owner_email,
       w.provisioning_skip_properties AS skip_properties, w.provisioning_auto_go_live AS auto_go_live,
       w.provisioning_state, w.provisioning_failed_from, w.provisioning_seq, w.provisioning_attempts,
       w.provisioning_request::text, w.created_at, w.provisioning_due_at,
       last.to_state AS last_to_state, last.actor AS last_actor
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
 WHERE w.id = ANY ($1::bigint[])
