-- How many links websites have beside those with certain slugs.
SELECT website_id, count(*) AS count
  FROM pwb_links
 WHERE website_id = ANY ($1::bigint[]) AND (slug = ANY ($2::text[])) IS NOT TRUE
 GROUP BY website_id
