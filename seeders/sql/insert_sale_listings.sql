-- Inserts sale listings for sample properties that have no active one, whoever inserted the property.
INSERT INTO pwb_sale_listings (realty_asset_id, active, visible, highlighted, price_sale_current_cents,
                               price_sale_current_currency, translations, created_at, updated_at)
SELECT asset.id, true, true, highlighted, cents, currency, listing.translations::jsonb, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::bigint[], $6::text[], $7::bool[], $8::text[]) WITH ORDINALITY
       AS listing (pack, reference, cents, currency, highlighted, translations, place)
    ON listing.pack = website.pack
  JOIN pwb_realty_assets AS asset ON asset.website_id = website.id AND asset.reference = listing.reference
 ORDER BY website.id, listing.place
ON CONFLICT (realty_asset_id, active) WHERE active DO NOTHING
