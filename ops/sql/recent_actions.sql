-- The latest actions of people, of all websites ($1 null) or of one.
SELECT id, actor, verb, reason, message_id, website_id, detail, outcome, occurred_at
  FROM provisioning_operator_actions
 WHERE $1::bigint IS NULL OR website_id = $1
 ORDER BY id DESC LIMIT $2
