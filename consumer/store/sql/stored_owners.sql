-- The active owners of websites, and the users who are named by their ids (without a website): with them a signup is
-- compared that names an owner.
SELECT m.website_id, u.id AS user_id, u.email
  FROM pwb_user_memberships AS m
  JOIN pwb_users AS u ON u.id = m.user_id
 WHERE m.website_id = ANY ($1::bigint[]) AND m.role = 'owner' AND m.active
UNION ALL
SELECT NULL, id, email FROM pwb_users WHERE id = ANY ($2::bigint[])
