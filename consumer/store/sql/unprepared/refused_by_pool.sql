-- The websites of signups whose subdomain somebody else has in the existing product's pool, by the rule of the trigger
-- function provisioning_check_pool. Of a website that has a subdomain the pool is not asked.
SELECT asked.website_id AS id
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS asked (website_id, subdomain, email, user_id)
  JOIN pwb_subdomains AS pool ON pool.name = asked.subdomain
  LEFT JOIN pwb_websites AS w ON w.id = asked.website_id
 WHERE w.subdomain IS NULL
   AND (pool.aasm_state = 'allocated' AND pool.website_id IS DISTINCT FROM asked.website_id
        OR pool.aasm_state = 'reserved' AND coalesce(pool.reserved_until > now() AT TIME ZONE 'UTC', true)
           AND coalesce(lower(coalesce(w.owner_email, asked.email)) <> lower(pool.reserved_by_email), true)
           AND NOT EXISTS (SELECT FROM pwb_users AS u
                            WHERE lower(u.email) = lower(pool.reserved_by_email)
                              AND (u.id = asked.user_id
                                   OR EXISTS (SELECT FROM pwb_user_memberships AS m
                                               WHERE m.user_id = u.id AND m.website_id = asked.website_id
                                                 AND m.role = 'owner' AND m.active))))
