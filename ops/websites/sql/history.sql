-- A website's history, oldest first.
SELECT seq, trigger, from_state, to_state, message_id, actor, reason, detail::text, occurred_at
  FROM provisioning_transitions
 WHERE website_id = $1
 ORDER BY seq
