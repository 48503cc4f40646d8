-- Fills what the row of a signup left empty with what its website.created says; what the row says wins.
UPDATE pwb_websites AS w
   SET subdomain = coalesce(w.subdomain, said.subdomain),
       site_type = coalesce(w.site_type, said.site_type),
       seed_pack_name = coalesce(w.seed_pack_name, said.seed_pack),
       owner_email = coalesce(w.owner_email, said.owner_email)
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
       AS said (website_id, subdomain, site_type, seed_pack, owner_email)
 WHERE w.id = said.website_id
