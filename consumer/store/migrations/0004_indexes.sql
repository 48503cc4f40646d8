-- Outside a transaction: the indexes. Each is built beside readers and writers, where no other index
-- serves as well. Rows that are doubled in a unique one are left to people: its index is not made, and `init` names them.

-- Of subdomains and e-mail addresses without case: the existing product's rows have them as people typed them.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_websites_on_lower_subdomain ON pwb_websites (lower(subdomain));
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_websites_on_provisioning_state ON pwb_websites (provisioning_state);
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_websites_on_provisioning_due_at
    ON pwb_websites (provisioning_due_at) WHERE provisioning_due_at IS NOT NULL;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_users_on_lower_email ON pwb_users (lower(email));
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_user_memberships_on_user_id_and_website_id
    ON pwb_user_memberships (user_id, website_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_user_memberships_on_website_id ON pwb_user_memberships (website_id);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_field_keys_unique_per_website
    ON pwb_field_keys (pwb_website_id, global_key);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_realty_assets_on_slug ON pwb_realty_assets (slug);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_sale_listings_unique_active
    ON pwb_sale_listings (realty_asset_id, active) WHERE active;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_rental_listings_unique_active
    ON pwb_rental_listings (realty_asset_id, active) WHERE active;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS index_pwb_agencies_unique_website_id ON pwb_agencies (website_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_transitions_on_occurred_at
    ON provisioning_transitions USING brin (occurred_at) WITH (autosummarize = on);
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_operator_actions_on_website_id
    ON provisioning_operator_actions (website_id) WHERE website_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_operator_actions_on_message_id
    ON provisioning_operator_actions (message_id) WHERE message_id IS NOT NULL;
-- Finds the transitions whose step fell back: few rows of a large log.
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_transitions_on_fallback
    ON provisioning_transitions (occurred_at, website_id) WHERE detail ? 'fallback' AND to_state <> 'failed';
