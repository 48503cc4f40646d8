-- Which messages have been applied already, by a row of the log or by one that was pruned.
SELECT message.website_id, message.message_id
  FROM unnest($1::bigint[], $2::uuid[]) AS message (website_id, message_id)
  LEFT JOIN provisioning_transitions AS done
         ON done.website_id = message.website_id AND done.message_id = message.message_id
  LEFT JOIN provisioning_pruned AS pruned
         ON pruned.website_id = message.website_id AND message.message_id = ANY (pruned.message_ids)
 WHERE done.seq IS NOT NULL OR pruned.website_id IS NOT NULL
