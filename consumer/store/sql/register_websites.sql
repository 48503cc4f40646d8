-- Inserts websites of signups whose row is not there yet. In id order: opposite orders would deadlock. A row that is
-- there wins, and so does another website with the same subdomain. Returns which were inserted.
INSERT INTO pwb_websites (id, subdomain, site_type, seed_pack_name, owner_email, provisioning_skip_properties,
                          provisioning_auto_go_live, provisioning_request, provisioning_state, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT id, subdomain, site_type, seed_pack, owner_email, skip_properties, auto_go_live, request::jsonb, 'pending', now(),
       now()
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::bool[], $8::text[])
       AS signup (id, subdomain, site_type, seed_pack, owner_email, skip_properties, auto_go_live, request)
 ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id
