-- Live websites whose step fell back within the last so many seconds: their seed pack did not suffice. By the index on
-- fallbacks.
SELECT id FROM pwb_websites
 WHERE provisioning_state = 'live'
   AND id IN (SELECT website_id FROM provisioning_transitions
               WHERE detail ? 'fallback' AND to_state <> 'failed'
                 AND occurred_at > now() - $1::float8 * interval '1 second')
 ORDER BY id DESC
 LIMIT $2
