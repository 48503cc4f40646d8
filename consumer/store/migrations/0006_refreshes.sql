-- When views of the existing product were refreshed: docs/decisions/0033. schema.sql describes the table.
CREATE TABLE IF NOT EXISTS provisioning_refreshes (
    view text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL
);
