-- What a dispatcher claimed and the broker did not answer for is due again soon, unless it has moved meanwhile.
UPDATE pwb_websites AS w
   SET provisioning_due_at = now() + $3::float8 * interval '1 second'
  FROM unnest($1::bigint[], $2::int[]) AS unanswered (website_id, seq)
 WHERE w.id = unanswered.website_id AND w.provisioning_seq = unanswered.seq AND w.provisioning_due_at IS NOT NULL
