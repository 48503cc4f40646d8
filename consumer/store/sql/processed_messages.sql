-- Which of these messages have been carried out, and which message moved each website to where it is. Only for the few
-- websites of which the locking statement found a copy of the message, or which somebody moved while it waited for
-- them: a statement of its own, after the lock, sees that.
SELECT asked.website_id, t.seq, t.trigger, t.from_state, t.to_state, t.message_id, t.actor, t.reason, t.detail::text,
       t.occurred_at, last.message_id AS last_message_id, last.to_state AS last_to_state, last.actor AS last_actor
  FROM unnest($1::bigint[], $2::uuid[], $3::int[]) AS asked (website_id, message_id, seq)
  LEFT JOIN provisioning_transitions AS t USING (website_id, message_id)
  LEFT JOIN provisioning_transitions AS last ON last.website_id = asked.website_id AND last.seq = asked.seq
