-- The websites that these subdomains, in lower case, belong to; in whatever case they have them.
SELECT lower(subdomain) AS subdomain, id FROM pwb_websites WHERE lower(subdomain) = ANY ($1::text[])
