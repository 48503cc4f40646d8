-- Somebody else may take the census.
SELECT pg_advisory_unlock(hashtext('provisioner census'))
