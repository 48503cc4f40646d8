-- Delete requests to pause, by id; $1 null resumes all workers, those paused alone among them.
DELETE FROM provisioning_pauses WHERE $1::text[] IS NULL OR worker = ANY ($1)
