-- Actions that match, the latest first: a page of $9 before the id $8. `result` is `open` where the outcome is not known,
-- and null in rows from before version 0.2.0. An action with a single item has that item's message and website.
SELECT a.id, a.actor, a.person, a.proof, a.verb, a.reason, a.target,
       coalesce(a.message_id, only_item.message_id) AS message_id,
       coalesce(a.website_id, only_item.website_id) AS website_id,
       a.detail || coalesce(only_item.detail, '{}') AS detail,
       a.outcome, CASE WHEN a.outcome IS NULL THEN 'open' ELSE a.result END AS result,
       a.occurred_at, a.settled_at, counted.items
  FROM provisioning_operator_actions AS a
 CROSS JOIN LATERAL (SELECT count(*) AS items FROM provisioning_action_items WHERE action_id = a.id) AS counted
  LEFT JOIN provisioning_action_items AS only_item
         ON counted.items = 1 AND only_item.action_id = a.id AND only_item.item = 1
{matching}   AND ($8::bigint IS NULL OR a.id < $8)
 ORDER BY a.id DESC LIMIT $9
