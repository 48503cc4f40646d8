-- Inserts each website's sample properties from its pack, except those whose reference the website has already. The
-- website's row is locked, so no other worker inserts them meanwhile. The slug is unique among all websites: it ends in the website id.
INSERT INTO pwb_realty_assets (website_id, reference, slug, prop_type_key, prop_state_key, street_address, city, region,
                               country, postal_code, latitude, longitude, count_bedrooms, count_bathrooms,
                               count_garages, constructed_area, plot_area, year_construction, created_at, updated_at)
SELECT website.id, reference, stem || '-' || website.id, prop_type_key, prop_state_key, street_address, city, region,
       country, postal_code, latitude, longitude, count_bedrooms, count_bathrooms, count_garages, constructed_area,
       plot_area, year_construction, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::text[], $12::text[], $13::float8[], $14::float8[], $15::int[], $16::float8[], $17::int[],
              $18::float8[], $19::float8[], $20::int[]) WITH ORDINALITY
       AS asset (pack, reference, stem, prop_type_key, prop_state_key, street_address, city, region, country,
                 postal_code, latitude, longitude, count_bedrooms, count_bathrooms, count_garages, constructed_area,
                 plot_area, year_construction, place)
    ON asset.pack = website.pack
 WHERE NOT EXISTS (SELECT FROM pwb_realty_assets AS had
                    WHERE had.website_id = website.id AND had.reference = asset.reference)
 ORDER BY website.id, asset.place
