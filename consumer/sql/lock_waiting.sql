-- Locks one website, waiting for it up to lock_timeout. FOR UPDATE would block other sessions' inserts of child rows.
SELECT id, subdomain, site_type, seed_pack_name, owner_email, skip_properties, auto_go_live, provisioning_state,
       provisioning_failed_from, provisioning_seq, provisioning_attempts,
       provisioning_request::text, created_at
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
 ORDER BY id
   FOR NO KEY UPDATE
