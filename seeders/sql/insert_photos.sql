-- Inserts the picture of sample properties from each website's pack, by its address, where the property has none.
INSERT INTO pwb_prop_photos (realty_asset_id, sort_order, external_url, created_at, updated_at)
SELECT asset.id, 1, photo.url, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::text[]) WITH ORDINALITY AS photo (pack, reference, url, place)
    ON photo.pack = website.pack
  JOIN pwb_realty_assets AS asset ON asset.website_id = website.id AND asset.reference = photo.reference
 WHERE NOT EXISTS (SELECT FROM pwb_prop_photos AS there WHERE there.realty_asset_id = asset.id)
 ORDER BY website.id, photo.place
