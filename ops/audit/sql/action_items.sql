-- A page of the items of an action, in order, after the number $2.
SELECT item, website_id, message_id, detail, outcome
  FROM provisioning_action_items WHERE action_id = $1 AND item > $2 ORDER BY item LIMIT $3
