-- Inserts the features of sample properties from each website's pack, each once; one that is there stays as it is.
INSERT INTO pwb_features (realty_asset_id, feature_key, created_at, updated_at)
SELECT asset.id, feature.key, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::text[]) WITH ORDINALITY AS entry (pack, reference, keys, place)
    ON entry.pack = website.pack
  JOIN pwb_realty_assets AS asset ON asset.website_id = website.id AND asset.reference = entry.reference
 CROSS JOIN json_array_elements_text(entry.keys::json) WITH ORDINALITY AS feature (key, place)
 WHERE NOT EXISTS (SELECT FROM pwb_features AS there
                    WHERE there.realty_asset_id = asset.id AND there.feature_key = feature.key)
 ORDER BY website.id, entry.place, feature.place
