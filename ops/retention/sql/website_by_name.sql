-- A website by id or by subdomain, in lower case; one that is not there any more by the id of its log.
SELECT id
  FROM (SELECT id, 1 AS place FROM pwb_websites WHERE id::text = $1
         UNION ALL
        SELECT id, 2 FROM pwb_websites WHERE lower(subdomain) = $1
         UNION ALL
        SELECT $2::bigint, 3 WHERE EXISTS (SELECT FROM provisioning_transitions WHERE website_id = $2)) AS found
 ORDER BY place
 LIMIT 1
