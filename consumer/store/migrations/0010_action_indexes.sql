-- Outside a transaction: the indexes by which the actions about a website or a message are found.
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_action_items_on_website_id
    ON provisioning_action_items (website_id) WHERE website_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS index_provisioning_action_items_on_message_id
    ON provisioning_action_items (message_id) WHERE message_id IS NOT NULL;
