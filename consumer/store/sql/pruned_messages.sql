-- Which of these messages have been carried out by a row that was pruned since. Only for messages without a seq to a website
-- that has moved before: of the others the seq says so.
SELECT asked.website_id
  FROM unnest($1::bigint[], $2::uuid[]) AS asked (website_id, message_id)
 WHERE asked.message_id = ANY ((SELECT p.message_ids FROM provisioning_pruned AS p
                                 WHERE p.website_id = asked.website_id)::uuid[])
