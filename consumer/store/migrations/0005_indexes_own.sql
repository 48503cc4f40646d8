-- Outside a transaction: an index that the existing product is not to be bound by (docs/decisions/0028): it may give two
-- properties of a website one reference.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_realty_assets_unique_website_id_and_reference
    ON pwb_realty_assets (website_id, reference);
