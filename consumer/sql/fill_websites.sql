-- Fills what the row of a signup left empty with what its website.created says, and keeps all that this brought for the
-- steps that need it; what was there before wins.
UPDATE pwb_websites AS w
   SET subdomain = coalesce(w.subdomain, said.subdomain),
       site_type = coalesce(w.site_type, said.site_type),
       seed_pack_name = coalesce(w.seed_pack_name, said.seed_pack),
       owner_email = coalesce(w.owner_email, said.owner_email),
       provisioning_request = said.request::jsonb || coalesce(w.provisioning_request, '{}'),
       updated_at = now()
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       AS said (website_id, subdomain, site_type, seed_pack, owner_email, request)
 WHERE w.id = said.website_id
