-- Whether this transaction is the one that collects the cluster's metrics; the lock ends with it. For sessions that a
-- pooler lends for one transaction only; the key is that of lock.sql.
SELECT pg_try_advisory_xact_lock(hashtext('provisioner census'))
