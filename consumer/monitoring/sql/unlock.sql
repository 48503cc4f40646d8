-- Gives back the lock: another session may collect the cluster's metrics.
SELECT pg_advisory_unlock(hashtext('provisioner census'))
