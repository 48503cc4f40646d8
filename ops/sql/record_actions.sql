-- Write down what somebody is about to do, in the order given.
INSERT INTO provisioning_operator_actions (actor, verb, reason, message_id, website_id, detail)
SELECT $1, $2, $3, asked.message_id, asked.website_id, asked.detail::jsonb
  FROM unnest($4::text[], $5::bigint[], $6::text[]) WITH ORDINALITY AS asked (message_id, website_id, detail, place)
 ORDER BY asked.place
RETURNING id
