-- Whether this session is the one that takes the census. Held until it is given back or the session ends.
SELECT pg_try_advisory_lock(hashtext('provisioner census'))
