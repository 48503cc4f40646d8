-- Whether this session is the one that collects the cluster's metrics. Held until it is given back or the session ends.
-- The key is that of every release: processes of different releases share the lock.
SELECT pg_try_advisory_lock(hashtext('provisioner census'))
