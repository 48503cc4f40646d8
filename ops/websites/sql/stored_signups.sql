-- What is stored of websites that a signup may contradict, less their active owners.
SELECT id, subdomain, owner_email, provisioning_request::text AS request
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
