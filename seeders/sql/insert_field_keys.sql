-- Inserts each website's field keys from its pack; a key that is there stays as it is.
INSERT INTO pwb_field_keys (pwb_website_id, global_key, tag, visible, sort_order, translations, created_at, updated_at)
SELECT website.id, global_key, tag, visible, sort_order, translations::jsonb, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::text[], $6::bool[], $7::int[], $8::text[]) WITH ORDINALITY
       AS field_key (pack, global_key, tag, visible, sort_order, translations, place)
    ON field_key.pack = website.pack
 ORDER BY website.id, field_key.place
ON CONFLICT (pwb_website_id, global_key) DO NOTHING
