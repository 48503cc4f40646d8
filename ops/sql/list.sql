-- Websites in a state, or in any; the most recently changed first.
SELECT id
  FROM pwb_websites
 WHERE $1::text IS NULL OR provisioning_state = $1
 ORDER BY updated_at DESC, id DESC
 LIMIT $2
