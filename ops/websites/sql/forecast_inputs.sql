-- The columns that a forecast judges, less the counts of rows. The guards of the states before are `proven` where a
-- transition of this service led to the website's state. An owner is named where the signup gave an
-- address, or a user that exists: the address in the website's own row makes nobody an owner.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.provisioning_state, w.provisioning_failed_from,
       w.provisioning_error, w.provisioning_skip_properties AS skip_properties,
       w.provisioning_auto_go_live AS auto_go_live,
       w.provisioning_request #>> '{owner,email}' IS NOT NULL
       OR EXISTS (SELECT FROM pwb_users AS u WHERE u.id = (w.provisioning_request #>> '{owner,user_id}')::bigint)
       AS owner_named,
       w.provisioning_state = 'pending'
       OR EXISTS (SELECT FROM provisioning_transitions AS t
                   WHERE t.website_id = w.id AND t.seq = w.provisioning_seq AND t.to_state = w.provisioning_state
                     AND t.actor IS DISTINCT FROM 'product') AS proven
  FROM pwb_websites AS w
 WHERE w.id = ANY ($1::bigint[])
