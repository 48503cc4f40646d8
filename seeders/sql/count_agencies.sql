-- How many agencies websites have; asked only where a pack says too little.
SELECT website_id AS website_id, count(*) AS count
  FROM pwb_agencies
 WHERE website_id = ANY ($1::bigint[])
 GROUP BY website_id
