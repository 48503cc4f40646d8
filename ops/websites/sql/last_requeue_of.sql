-- The last requeue of one of these websites, and of how many of them.
SELECT a.id, a.occurred_at, a.actor, a.reason, a.outcome, count(*) AS websites
  FROM provisioning_action_items AS i
  JOIN provisioning_operator_actions AS a ON a.id = i.action_id
 WHERE i.website_id = ANY ($1::bigint[]) AND a.verb = 'requeue'
 GROUP BY a.id
 ORDER BY a.id DESC
 LIMIT 1
