-- Whose these subdomains are.
SELECT subdomain, id FROM pwb_websites WHERE subdomain = ANY ($1::text[])
