-- The sessions of the console. schema.sql describes the table.
CREATE TABLE IF NOT EXISTS provisioning_sessions (
    id_hash bytea PRIMARY KEY,
    owner text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
