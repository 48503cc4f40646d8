-- How many field keys websites have; asked only where a pack says too little.
SELECT pwb_website_id AS website_id, count(*) AS count
  FROM pwb_field_keys
 WHERE pwb_website_id = ANY ($1::bigint[])
 GROUP BY pwb_website_id
