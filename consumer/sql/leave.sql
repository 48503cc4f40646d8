-- A worker process has stopped; with it goes what was wanted of it alone.
WITH gone AS (
    DELETE FROM provisioning_pauses WHERE worker = $1::uuid::text
)
DELETE FROM provisioning_workers WHERE id = $1::uuid
