-- Fills the empty columns of signups' rows with what their website.created brings, and keeps all of that for the steps
-- that need it; what was there before wins.
UPDATE pwb_websites AS w
   SET subdomain = coalesce(w.subdomain, signup.subdomain),
       site_type = coalesce(w.site_type, signup.site_type),
       seed_pack_name = coalesce(w.seed_pack_name, signup.seed_pack),
       owner_email = coalesce(w.owner_email, signup.owner_email),
       provisioning_request = signup.request::jsonb || coalesce(w.provisioning_request, '{}'),
       updated_at = now()
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       AS signup (website_id, subdomain, site_type, seed_pack, owner_email, request)
 WHERE w.id = signup.website_id
