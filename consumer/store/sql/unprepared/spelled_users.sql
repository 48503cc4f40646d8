-- Which of these spellings of addresses users have, in lower case.
SELECT email FROM pwb_users WHERE lower(email) = ANY ($1::text[])
