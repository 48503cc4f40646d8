-- Prunes the log of the next websites after an id, or counts what would go.
SELECT last_id, websites, log_rows FROM provisioning_prune($1::bigint, $2::float8, $3::int, $4::bool)
