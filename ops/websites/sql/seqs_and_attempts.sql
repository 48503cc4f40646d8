-- The columns that change when a website moves or an attempt is counted, and when a signup for it was last rejected.
-- Ids that no website has get the last alone.
SELECT asked.id, w.provisioning_seq AS seq, w.provisioning_attempts AS attempts, last.rejected_at
  FROM unnest($1::bigint[]) AS asked (id)
  LEFT JOIN pwb_websites AS w ON w.id = asked.id
  LEFT JOIN LATERAL (SELECT rejected_at
                       FROM provisioning_rejections
                      WHERE website_id = asked.id
                      ORDER BY rejected_at DESC
                      LIMIT 1) AS last ON true
 WHERE w.id IS NOT NULL OR last.rejected_at IS NOT NULL
