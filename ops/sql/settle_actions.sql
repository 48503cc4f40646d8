-- Say what came of actions.
UPDATE provisioning_operator_actions SET outcome = settled.outcome
  FROM unnest($1::bigint[], $2::text[]) AS settled (id, outcome)
 WHERE provisioning_operator_actions.id = settled.id
