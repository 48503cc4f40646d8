-- Failed websites by text, pack, site type and age, those that failed first before the others. The pack is the one that
-- seeds them: their own, their site type's, or the one for all others.
SELECT id, provisioning_error AS error
  FROM pwb_websites
 WHERE provisioning_state = 'failed'
   AND ($1::text IS NULL OR strpos(lower(provisioning_error), lower($1)) > 0)
   AND ($2::text IS NULL OR coalesce(nullif(seed_pack_name, ''), $6::jsonb ->> site_type, $7) = $2)
   AND ($3::text IS NULL OR site_type = $3)
   AND ($4::float8 IS NULL OR provisioning_failed_at >= now() - $4 * interval '1 second')
 ORDER BY provisioning_failed_at, id
 LIMIT $5
