-- How many websites in each state this service never provisioned, and is not about to: not moved, not tried, no request
-- stored, no due time.
SELECT provisioning_state AS state, count(*) AS count
  FROM pwb_websites
 WHERE provisioning_seq = 0 AND provisioning_attempts = 0 AND provisioning_request IS NULL AND provisioning_due_at IS NULL
 GROUP BY provisioning_state
 ORDER BY count(*) DESC, provisioning_state
