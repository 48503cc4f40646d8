-- Brings up to date how many properties websites have: the product's checklist and limits read this column.
UPDATE pwb_websites AS website
   SET realty_assets_count = counted.properties
  FROM (SELECT website_id, count(*) AS properties
          FROM pwb_realty_assets
         WHERE website_id = ANY ($1::bigint[])
         GROUP BY website_id) AS counted
 WHERE website.id = counted.website_id AND website.realty_assets_count IS DISTINCT FROM counted.properties
