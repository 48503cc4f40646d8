-- What is known of dead letters without their bodies, and when their queue was last read: docs/decisions/0042. schema.sql
-- describes the tables.
CREATE TABLE IF NOT EXISTS provisioning_dead_letters (
    queue text NOT NULL,
    digest bytea NOT NULL,
    place bigint NOT NULL,
    message_id text,
    type text,
    website_id bigint,
    reason text NOT NULL,
    error text,
    source_queue text,
    failed_at timestamptz,
    bytes bigint NOT NULL,
    exact text,
    PRIMARY KEY (queue, digest)
);
CREATE TABLE IF NOT EXISTS provisioning_dead_letter_readings (
    queue text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    read_by text NOT NULL,
    letters integer NOT NULL,
    beyond_limit bigint NOT NULL,
    outdated boolean NOT NULL
);
