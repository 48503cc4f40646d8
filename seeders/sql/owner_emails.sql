-- The e-mail address of each website's first active owner.
SELECT DISTINCT ON (m.website_id) m.website_id, u.email
  FROM pwb_user_memberships AS m
  JOIN pwb_users AS u ON u.id = m.user_id
 WHERE m.website_id = ANY ($1::bigint[]) AND m.role = 'owner' AND m.active
 ORDER BY m.website_id, m.id
