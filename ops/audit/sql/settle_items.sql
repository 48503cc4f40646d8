-- Records the outcomes of items of an action.
UPDATE provisioning_action_items SET outcome = settled.outcome
  FROM unnest($2::integer[], $3::text[]) AS settled (item, outcome)
 WHERE provisioning_action_items.action_id = $1 AND provisioning_action_items.item = settled.item
