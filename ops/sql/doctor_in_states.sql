-- Websites in some of the states, the newest first, below an id.
SELECT id, provisioning_state AS state, subdomain
  FROM pwb_websites
 WHERE provisioning_state = ANY ($1::text[]) AND ($2::bigint IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
