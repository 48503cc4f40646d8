-- Records that a queue was read to its end, or to the limit.
INSERT INTO provisioning_dead_letter_readings AS r
       (queue, began_at, ended_at, read_by, letters, beyond_limit, outdated)
VALUES ($1, $2, clock_timestamp(), $3, $4, $5, false)
    ON CONFLICT (queue) DO UPDATE
   SET began_at = excluded.began_at, ended_at = excluded.ended_at, read_by = excluded.read_by,
       letters = excluded.letters, beyond_limit = excluded.beyond_limit, outdated = false
RETURNING began_at, ended_at, read_by, letters, beyond_limit
