-- Agencies for websites that have none; returns the websites that got theirs.
INSERT INTO pwb_agencies (website_id, display_name, email_primary, phone_number_primary, created_at, updated_at)
SELECT website_id, display_name, email, phone, now(), now()
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS agency (website_id, display_name, email, phone)
 ORDER BY website_id
ON CONFLICT (website_id) DO NOTHING
RETURNING website_id
