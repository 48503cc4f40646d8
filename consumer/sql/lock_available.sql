-- Locks the websites of a batch that nobody else holds, in id order; the rest are left to go round again alone.
SELECT id, subdomain, site_type, seed_pack_name, owner_email, skip_properties, auto_go_live, provisioning_state,
       provisioning_failed_from, provisioning_seq, provisioning_attempts,
       provisioning_request::text, created_at
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
 ORDER BY id
   FOR NO KEY UPDATE SKIP LOCKED
