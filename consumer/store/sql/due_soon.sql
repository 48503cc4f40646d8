-- Makes websites due again soon that a dispatcher claimed and the broker did not confirm, unless they have moved.
UPDATE pwb_websites AS w
   SET provisioning_due_at = now() + $3::float8 * interval '1 second'
  FROM unnest($1::bigint[], $2::int[]) AS unconfirmed (website_id, seq)
 WHERE w.id = unconfirmed.website_id AND w.provisioning_seq = unconfirmed.seq AND w.provisioning_due_at IS NOT NULL
