-- What people did: how each proved who they are, what it was about, and the items of each action. schema.sql describes
-- the tables. Columns without a default are added without a look at a row; rows that are there stay as they are.
ALTER TABLE provisioning_operator_actions
    ADD COLUMN IF NOT EXISTS person text,
    ADD COLUMN IF NOT EXISTS proof text,
    ADD COLUMN IF NOT EXISTS target text,
    ADD COLUMN IF NOT EXISTS result text,
    ADD COLUMN IF NOT EXISTS settled_at timestamptz;

CREATE TABLE IF NOT EXISTS provisioning_action_items (
    action_id bigint NOT NULL REFERENCES provisioning_operator_actions (id) ON DELETE CASCADE,
    item integer NOT NULL,
    website_id bigint,
    message_id text,
    detail jsonb NOT NULL DEFAULT '{}',
    outcome text,
    PRIMARY KEY (action_id, item)
);
