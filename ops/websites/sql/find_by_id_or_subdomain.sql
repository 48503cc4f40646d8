-- Websites by id or by subdomain, which is given in lower case and found in any; the id wins where a subdomain looks like one.
SELECT id
  FROM pwb_websites
 WHERE id::text = $1 OR lower(subdomain) = $1
 ORDER BY id::text = $1 DESC
 LIMIT 1
