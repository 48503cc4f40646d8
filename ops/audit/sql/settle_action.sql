-- Records the outcome of an action: a sentence, and whether all, a part or nothing of it took effect.
UPDATE provisioning_operator_actions SET outcome = $2, result = $3, settled_at = now() WHERE id = $1
