-- How many field keys websites have beside those with certain keys.
SELECT pwb_website_id AS website_id, count(*) AS count
  FROM pwb_field_keys
 WHERE pwb_website_id = ANY ($1::bigint[]) AND (global_key = ANY ($2::text[])) IS NOT TRUE
 GROUP BY pwb_website_id
