-- Signups that were rejected. schema.sql describes the table.
CREATE TABLE IF NOT EXISTS provisioning_rejections (
    message_id uuid PRIMARY KEY,
    website_id bigint NOT NULL,
    code text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS index_provisioning_rejections_on_website_id
    ON provisioning_rejections (website_id, rejected_at DESC);
CREATE INDEX IF NOT EXISTS index_provisioning_rejections_on_rejected_at ON provisioning_rejections (rejected_at);
