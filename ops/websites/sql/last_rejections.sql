-- The last rejected signup of each website, of the 30 days for which progress answers from it.
-- One probe of the index each, however many signups name the same website.
SELECT last.website_id, last.code
  FROM unnest($1::bigint[]) AS asked (id)
 CROSS JOIN LATERAL (SELECT website_id, code
                       FROM provisioning_rejections
                      WHERE website_id = asked.id
                        AND rejected_at > now() - interval '30 days'
                      ORDER BY rejected_at DESC
                      LIMIT 1) AS last
