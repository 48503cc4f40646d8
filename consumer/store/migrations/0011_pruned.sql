-- What is kept of histories whose older rows were pruned: docs/decisions/0041. schema.sql describes the table.
CREATE TABLE IF NOT EXISTS provisioning_pruned (
    website_id bigint PRIMARY KEY,
    through_seq integer NOT NULL CHECK (through_seq > 0),
    to_state text NOT NULL,
    last_at timestamptz NOT NULL,
    message_ids uuid[] NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT now()
);
