-- Returns a page of the dead letters of a queue, the latest first, and of one time as they were read; of one website, or
-- of all. $3 and $4: the time and the place of the last of the page before.
SELECT digest, place, message_id, type, website_id, reason, error, source_queue, failed_at, bytes, exact,
       coalesce(failed_at, '-infinity') AS at
  FROM provisioning_dead_letters
 WHERE queue = $1 AND ($2::bigint IS NULL OR website_id = $2)
   AND ($3::timestamptz IS NULL OR coalesce(failed_at, '-infinity') < $3
        OR coalesce(failed_at, '-infinity') = $3 AND place > $4)
 ORDER BY coalesce(failed_at, '-infinity') DESC, place
 LIMIT $5
