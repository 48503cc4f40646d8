-- Brings up to date how many pictures the properties of websites have: the product's pages read this column.
UPDATE pwb_realty_assets AS asset
   SET prop_photos_count = counted.photos
  FROM (SELECT photo.realty_asset_id, count(*) AS photos
          FROM pwb_realty_assets AS of_website
          JOIN pwb_prop_photos AS photo ON photo.realty_asset_id = of_website.id
         WHERE of_website.website_id = ANY ($1::bigint[])
         GROUP BY photo.realty_asset_id) AS counted
 WHERE asset.id = counted.realty_asset_id AND asset.prop_photos_count IS DISTINCT FROM counted.photos
