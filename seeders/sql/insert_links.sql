-- Inserts each website's links from its pack; a slug that is there stays as it is.
INSERT INTO pwb_links (website_id, slug, page_slug, link_path, link_path_params, link_url, placement, sort_order,
                       visible, translations, created_at, updated_at)
SELECT website.id, slug, page_slug, link_path, link_path_params, link_url, placement, sort_order, visible,
       translations::jsonb, now(), now()
  FROM unnest($1::bigint[], $2::int[]) AS website (id, pack)
  JOIN unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[], $10::int[], $11::bool[],
              $12::text[]) WITH ORDINALITY
       AS link (pack, slug, page_slug, link_path, link_path_params, link_url, placement, sort_order, visible,
                translations, place)
    ON link.pack = website.pack
 ORDER BY website.id, link.place
ON CONFLICT (website_id, slug) DO NOTHING
