-- Makes the named users owners. A membership that is there already is raised to an active owner.
INSERT INTO pwb_user_memberships AS m (user_id, website_id, role, active, created_at, updated_at)
SELECT u.id, asked.website_id, 'owner', true, now(), now()
  FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS asked (website_id, email, user_id)
  JOIN pwb_users AS u
    ON u.id = coalesce(asked.user_id, (SELECT named.id FROM pwb_users AS named WHERE named.email = asked.email))
 ORDER BY asked.website_id
ON CONFLICT (user_id, website_id) DO UPDATE SET role = 'owner', active = true, updated_at = now()
 WHERE m.role <> 'owner' OR NOT m.active
