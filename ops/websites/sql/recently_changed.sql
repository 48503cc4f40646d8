-- Websites in a state, or in any; optionally only those of which a step fell back. The most recently changed first.
SELECT id
  FROM pwb_websites
 WHERE ($1::text IS NULL OR provisioning_state = $1)
   AND (NOT $3::bool OR id IN (SELECT website_id FROM provisioning_transitions
                                WHERE detail ? 'fallback' AND to_state <> 'failed'))
 ORDER BY updated_at DESC, id DESC
 LIMIT $2
