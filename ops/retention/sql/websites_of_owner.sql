-- The websites whose owner has one of these addresses, in lower case: by what this service keeps, or by the users who own
-- them. It reads all websites.
SELECT id FROM pwb_websites
 WHERE lower(owner_email) = ANY ($1::text[]) OR lower(provisioning_request #>> '{owner,email}') = ANY ($1::text[])
 UNION
SELECT w.id FROM pwb_users AS u JOIN pwb_websites AS w ON (w.provisioning_request #>> '{owner,user_id}')::bigint = u.id
 WHERE lower(u.email) = ANY ($1::text[])
 UNION
SELECT m.website_id FROM pwb_users AS u JOIN pwb_user_memberships AS m ON m.user_id = u.id
 WHERE lower(u.email) = ANY ($1::text[]) AND m.role = 'owner' AND m.active
 ORDER BY 1
