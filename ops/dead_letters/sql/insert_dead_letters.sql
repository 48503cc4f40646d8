-- Inserts dead letters of a queue, in the order in which they were read.
INSERT INTO provisioning_dead_letters
       (queue, digest, place, message_id, type, website_id, reason, error, source_queue, failed_at, bytes, exact)
SELECT $1, new.*
  FROM unnest($2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
              $10::timestamptz[], $11::bigint[], $12::text[]) AS new
