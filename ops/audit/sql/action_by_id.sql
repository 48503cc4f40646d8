-- One action, with the number of its items.
SELECT a.id, a.actor, a.person, a.proof, a.verb, a.reason, a.target, a.message_id, a.website_id, a.detail, a.outcome,
       CASE WHEN a.outcome IS NULL THEN 'open' ELSE a.result END AS result, a.occurred_at, a.settled_at,
       (SELECT count(*) FROM provisioning_action_items WHERE action_id = a.id) AS items
  FROM provisioning_operator_actions AS a WHERE a.id = $1
