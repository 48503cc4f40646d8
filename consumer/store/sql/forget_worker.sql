-- Deletes the row of a worker process that has stopped, and the pause of that worker alone.
WITH gone AS (
    DELETE FROM provisioning_pauses WHERE worker = $1::uuid::text
)
DELETE FROM provisioning_workers WHERE id = $1::uuid
