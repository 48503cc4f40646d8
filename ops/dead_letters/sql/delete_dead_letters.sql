-- Deletes dead letters that are no longer in their queue.
DELETE FROM provisioning_dead_letters WHERE queue = $1 AND digest = ANY ($2::bytea[])
