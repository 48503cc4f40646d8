-- Counts attempts that did not succeed; the dispatcher sends the next one when it is due. As in write.sql, a command proves
-- its own cause's event published and none before it: so the dispatcher does not send that again with each attempt.
UPDATE pwb_websites AS w
   SET provisioning_attempts = tried.attempts,
       provisioning_attempt_error = tried.error,
       provisioning_due_at = now() + tried.backoff_seconds * interval '1 second',
       provisioning_published_seq = CASE WHEN w.provisioning_published_seq = tried.published_seq - 1
                                         THEN tried.published_seq ELSE w.provisioning_published_seq END,
       provisioning_auto_go_live = w.provisioning_auto_go_live OR tried.asked_live,
       updated_at = now()
  FROM unnest($1::bigint[], $2::int[], $3::text[], $4::float8[], $5::bool[], $6::int[])
       AS tried (website_id, attempts, error, backoff_seconds, asked_live, published_seq)
 WHERE w.id = tried.website_id
