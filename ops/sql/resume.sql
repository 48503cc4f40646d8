-- Want workers to go on, by id; $1 null means everybody, whoever was paused alone among them.
DELETE FROM provisioning_pauses WHERE $1::text[] IS NULL OR worker = ANY ($1)
