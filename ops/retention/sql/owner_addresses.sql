-- The addresses of the owners of websites: those that this service keeps, and those of the users who own them.
SELECT w.id AS website_id, kept.address
  FROM pwb_websites AS w
 CROSS JOIN LATERAL (
    SELECT w.owner_email AS address
     UNION
    SELECT w.provisioning_request #>> '{owner,email}'
     UNION
    SELECT u.email FROM pwb_users AS u WHERE u.id = (w.provisioning_request #>> '{owner,user_id}')::bigint
     UNION
    SELECT u.email FROM pwb_user_memberships AS m JOIN pwb_users AS u ON u.id = m.user_id
     WHERE m.website_id = w.id AND m.role = 'owner' AND m.active) AS kept
 WHERE w.id = ANY ($1::bigint[]) AND kept.address LIKE '%@%'
