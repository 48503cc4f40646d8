-- A page of these failed websites in an order of the caller's choice, with the pack that seeds each: its own, its site
-- type's, or the one for all others.
SELECT id, subdomain, site_type, coalesce(nullif(seed_pack_name, ''), $2::jsonb ->> site_type, $3) AS pack,
       provisioning_failed_from AS failed_from, provisioning_failed_at AS failed_at,
       provisioning_attempts AS attempts, provisioning_error AS error
  FROM pwb_websites
 WHERE provisioning_state = 'failed' AND id = ANY ($1::bigint[])
 ORDER BY CASE $4 WHEN 'failed_at' THEN provisioning_failed_at END DESC,
          CASE $4 WHEN 'pack' THEN coalesce(nullif(seed_pack_name, ''), $2 ->> site_type, $3)
                  WHEN 'site_type' THEN site_type
                  WHEN 'error' THEN provisioning_error
                  WHEN 'subdomain' THEN subdomain END,
          CASE $4 WHEN 'attempts' THEN provisioning_attempts END DESC,
          id
 LIMIT $5 OFFSET $6
