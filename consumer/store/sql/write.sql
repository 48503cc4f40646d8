-- Writes transitions: state and log row of each website together, or neither. The seq in the WHERE is no lock (the row
-- lock is), it is a proof: a transition that finds another seq than it was judged on writes nothing. A command proves
-- its own cause's event published and none before it: where one of those is not, it stays unpublished.
WITH moved AS (
    UPDATE pwb_websites AS w
       SET provisioning_state = move.to_state,
           provisioning_seq = move.seq,
           provisioning_attempts = 0,
           provisioning_attempt_error = NULL,
           provisioning_due_at = now() + $13::float8 * interval '1 second',
           provisioning_published_seq = CASE WHEN w.provisioning_published_seq = move.published_seq - 1
                                             THEN move.published_seq ELSE w.provisioning_published_seq END,
           provisioning_started_at = CASE WHEN move.trigger = 'assign_owner'
                                          THEN coalesce(w.provisioning_started_at, now())
                                          ELSE w.provisioning_started_at END,
           provisioning_completed_at = CASE WHEN move.trigger = 'mark_ready' THEN now()
                                            ELSE w.provisioning_completed_at END,
           provisioning_failed_at = CASE WHEN move.to_state = 'failed' THEN now() END,
           provisioning_error = move.error,
           provisioning_failed_from = CASE WHEN move.to_state = 'failed' THEN move.from_state END,
           provisioning_auto_go_live = w.provisioning_auto_go_live OR move.asked_live,
           updated_at = now()
      FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
                  $9::text[], $10::text[], $11::int[], $12::bool[])
           AS move (website_id, seq, trigger, from_state, to_state, message_id, actor, reason,
                    detail, error, published_seq, asked_live)
     WHERE w.id = move.website_id AND w.provisioning_seq = move.seq - 1
    RETURNING move.*
)
INSERT INTO provisioning_transitions
       (website_id, seq, trigger, from_state, to_state, message_id, actor, reason, detail, occurred_at)
SELECT website_id, seq, trigger, from_state, to_state, message_id, actor, reason, detail::jsonb, statement_timestamp()
  FROM moved
 ORDER BY website_id
RETURNING website_id, occurred_at
