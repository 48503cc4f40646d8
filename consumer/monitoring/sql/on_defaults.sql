-- How many websites are live whose step fell back within the last $2 seconds; of the last $1 such steps.
SELECT count(*) AS count
  FROM (SELECT DISTINCT website_id
          FROM (SELECT website_id
                  FROM provisioning_transitions
                 WHERE detail ? 'fallback' AND to_state <> 'failed'
                   AND occurred_at > now() - $2::float8 * interval '1 second'
                 ORDER BY occurred_at DESC
                 LIMIT $1) AS recent) AS fallen_back
  JOIN pwb_websites AS w ON w.id = fallen_back.website_id
 WHERE w.provisioning_state = 'live'
