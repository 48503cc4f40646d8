-- Which of these users exist.
SELECT id FROM pwb_users WHERE id = ANY ($1::bigint[])
