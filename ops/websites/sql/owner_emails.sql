-- The e-mail addresses of a website's owners, and the one in its row.
SELECT u.email FROM pwb_user_memberships AS m JOIN pwb_users AS u ON u.id = m.user_id
 WHERE m.website_id = $1 AND m.role = 'owner' AND m.active
 UNION
SELECT owner_email FROM pwb_websites WHERE id = $1 AND owner_email IS NOT NULL
