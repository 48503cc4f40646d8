-- The latest actions about one website, each with what it did to that one. Rows from before version 0.2.0 have no items,
-- and the website in themselves.
SELECT a.id, a.actor, a.person, a.proof, a.verb, a.reason, coalesce(i.message_id, a.message_id) AS message_id,
       $1::bigint AS website_id, a.detail || coalesce(i.detail, '{}') AS detail,
       coalesce(i.outcome, a.outcome) AS outcome, a.occurred_at
  FROM (SELECT id AS action_id, NULL::integer AS item FROM provisioning_operator_actions WHERE website_id = $1
        UNION ALL
        SELECT action_id, item FROM provisioning_action_items WHERE website_id = $1
        ORDER BY action_id DESC LIMIT $2) AS found
  JOIN provisioning_operator_actions AS a ON a.id = found.action_id
  LEFT JOIN provisioning_action_items AS i ON i.action_id = found.action_id AND i.item = found.item
 ORDER BY a.id DESC, found.item DESC
