-- Counts attempts that did not succeed; the dispatcher sends the next one when it is due.
UPDATE pwb_websites AS w
   SET provisioning_attempts = tried.attempts,
       provisioning_attempt_error = tried.error,
       provisioning_due_at = now() + tried.backoff_seconds * interval '1 second',
       auto_go_live = w.auto_go_live OR tried.asked_live,
       updated_at = now()
  FROM unnest($1::bigint[], $2::int[], $3::text[], $4::float8[], $5::bool[])
       AS tried (website_id, attempts, error, backoff_seconds, asked_live)
 WHERE w.id = tried.website_id
