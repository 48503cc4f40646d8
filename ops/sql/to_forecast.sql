-- What a forecast for websites stands on, less what is counted. An owner is named where the signup gave an address, or
-- a user that exists: the address in the website's own row makes nobody an owner.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.provisioning_state, w.provisioning_failed_from,
       w.provisioning_error, w.skip_properties, w.auto_go_live,
       w.provisioning_request #>> '{owner,email}' IS NOT NULL
       OR EXISTS (SELECT FROM pwb_users AS u WHERE u.id = (w.provisioning_request #>> '{owner,user_id}')::bigint)
       AS owner_named
  FROM pwb_websites AS w
 WHERE w.id = ANY ($1::bigint[])
