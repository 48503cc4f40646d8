-- Failed websites of this service's own that do not say why, or when. The constraint forbids them, unless it is not
-- validated; those that it never provisioned are the existing product's matter.
SELECT id
  FROM pwb_websites
 WHERE provisioning_state = 'failed' AND (coalesce(btrim(provisioning_error), '') = '' OR provisioning_failed_at IS NULL)
   AND (provisioning_seq > 0 OR provisioning_attempts > 0 OR provisioning_request IS NOT NULL)
 LIMIT $1
