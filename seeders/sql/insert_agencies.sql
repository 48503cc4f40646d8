-- Inserts agencies of websites that have none, and returns the websites that got theirs. An agency without an address
-- of its own has that of the website's first active owner.
INSERT INTO pwb_agencies (website_id, display_name, email_primary, phone_number_primary, created_at, updated_at)
SELECT website_id, display_name,
       coalesce(email, (SELECT u.email FROM pwb_user_memberships AS m JOIN pwb_users AS u ON u.id = m.user_id
                         WHERE m.website_id = agency.website_id AND m.role = 'owner' AND m.active
                         ORDER BY m.id LIMIT 1)),
       phone, now(), now()
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS agency (website_id, display_name, email, phone)
 ORDER BY website_id
ON CONFLICT (website_id) DO NOTHING
RETURNING website_id
