-- Which messages have been carried out already.
SELECT asked.website_id, asked.message_id
  FROM unnest($1::bigint[], $2::uuid[]) AS asked (website_id, message_id)
  JOIN provisioning_transitions AS done ON done.website_id = asked.website_id AND done.message_id = asked.message_id
