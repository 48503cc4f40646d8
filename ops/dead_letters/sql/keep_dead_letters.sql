-- Deletes all dead letters but those of one queue with these digests.
DELETE FROM provisioning_dead_letters WHERE queue <> $1 OR digest <> ALL ($2::bytea[])
