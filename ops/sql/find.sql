-- Websites by id or by subdomain; the id wins where a subdomain looks like one.
SELECT id
  FROM pwb_websites
 WHERE id::text = $1 OR subdomain = $1
 ORDER BY id::text = $1 DESC
 LIMIT 1
