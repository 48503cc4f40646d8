-- Records an action before it takes effect: one row, however many items it has.
INSERT INTO provisioning_operator_actions (actor, person, proof, verb, reason, target, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
RETURNING id
