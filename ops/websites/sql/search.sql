-- Websites by state, site type, seed pack, text, and whether a step fell back, the most recently changed first, after a
-- place in that order.
SELECT id, updated_at::text AS place
  FROM pwb_websites
 WHERE ($1::text[] IS NULL OR provisioning_state = ANY ($1))
   AND ($2::text IS NULL OR site_type = $2)
   AND ($3::text IS NULL OR seed_pack_name = $3)
   AND ($4::text IS NULL OR id::text = $4 OR strpos(lower(subdomain), $4) > 0 OR strpos(lower(provisioning_error), $4) > 0
        OR ($5 AND strpos(lower(owner_email), $4) > 0))
   AND ($6::text IS NULL OR (updated_at, id) < ($6::text::timestamptz, $7::bigint))
   AND (NOT $9::bool OR id IN (SELECT website_id FROM provisioning_transitions
                                WHERE detail ? 'fallback' AND to_state <> 'failed'))
 ORDER BY updated_at DESC, id DESC
 LIMIT $8
