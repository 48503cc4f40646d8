-- Takes the turn to read a queue of dead letters, until the transaction ends; null where another reader has it.
SELECT CASE WHEN pg_try_advisory_xact_lock(hashtext('provisioner dead letters'), hashtext($1)) THEN clock_timestamp() END
