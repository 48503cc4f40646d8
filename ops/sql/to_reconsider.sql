-- Where the websites of dead letters are now, with the columns that the workers read under their lock.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.owner_email, w.skip_properties, w.auto_go_live,
       w.provisioning_state, w.provisioning_failed_from, w.provisioning_seq, w.provisioning_attempts,
       w.provisioning_request::text, w.created_at
  FROM pwb_websites AS w
 WHERE w.id = ANY ($1::bigint[])
