-- Makes the named users owners; a membership that is there already is raised to an active owner.
INSERT INTO pwb_user_memberships AS m (user_id, website_id, role, active, created_at, updated_at)
SELECT u.id, asked.website_id, 'owner', true, now(), now()
  FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS asked (website_id, email, user_id)
  JOIN pwb_users AS u
    -- The existing product may have several who differ in case alone: the one that is spelt so, else the oldest.
    ON u.id = coalesce(asked.user_id, (SELECT named.id FROM pwb_users AS named WHERE lower(named.email) = lower(asked.email)
                                        ORDER BY named.email = asked.email DESC, named.id LIMIT 1))
 ORDER BY asked.website_id
ON CONFLICT (user_id, website_id) DO UPDATE SET role = 'owner', active = true, updated_at = now()
 WHERE m.role <> 'owner' OR NOT m.active
