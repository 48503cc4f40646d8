-- Websites in some of the states, the newest first, below an id; `ours` are those that this service has begun to provision.
SELECT id, provisioning_state AS state, subdomain,
       provisioning_seq > 0 OR provisioning_attempts > 0 OR provisioning_request IS NOT NULL AS ours
  FROM pwb_websites
 WHERE provisioning_state = ANY ($1::text[]) AND ($2::bigint IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
