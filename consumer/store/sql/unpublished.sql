-- The log rows whose events are not proven published, and each website's last row, which names its next command.
SELECT t.website_id, t.seq, t.trigger, t.from_state, t.to_state, t.message_id, t.actor, t.reason, t.detail::text,
       t.occurred_at
  FROM unnest($1::bigint[], $2::int[], $3::int[]) AS asked (website_id, published_seq, seq)
  JOIN provisioning_transitions AS t
    ON t.website_id = asked.website_id AND t.seq >= least(asked.published_seq + 1, asked.seq) AND t.seq <= asked.seq
 ORDER BY t.website_id, t.seq
