-- Failed websites that do not say why, or when. The constraint forbids them, unless it is not validated.
SELECT id
  FROM pwb_websites
 WHERE provisioning_state = 'failed' AND (coalesce(btrim(provisioning_error), '') = '' OR provisioning_failed_at IS NULL)
 LIMIT $1
