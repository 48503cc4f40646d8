-- Records items of an action, numbered from $2 on; the outcome may be known at once.
INSERT INTO provisioning_action_items (action_id, item, website_id, message_id, detail, outcome)
SELECT $1, $2 + given.place - 1, given.website_id, given.message_id, given.detail::jsonb, given.outcome
  FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[])
       WITH ORDINALITY AS given (website_id, message_id, detail, outcome, place)
