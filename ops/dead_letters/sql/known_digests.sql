-- Returns the digests of the dead letters of a queue that are known, and the last place among them.
SELECT coalesce(array_agg(digest), '{}') AS digests, coalesce(max(place), 0) AS last_place
  FROM provisioning_dead_letters WHERE queue = $1
