-- Locks the websites of a batch that nobody else has locked, in id order, and reads the log as lock_waiting.sql does;
-- the others are executed alone afterwards.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.owner_email,
       w.provisioning_skip_properties AS skip_properties, w.provisioning_auto_go_live AS auto_go_live,
       w.provisioning_state, w.provisioning_failed_from, w.provisioning_seq, w.provisioning_attempts,
       w.provisioning_request::text, w.created_at, w.provisioning_due_at,
       done.seq AS done_seq, coalesce(last.seq, 0) AS seen_seq, last.message_id AS last_message_id,
       last.to_state AS last_to_state, last.actor AS last_actor
  FROM unnest($1::bigint[], $2::uuid[]) AS asked (website_id, message_id)
  JOIN pwb_websites AS w ON w.id = asked.website_id
  LEFT JOIN provisioning_transitions AS done
         ON done.website_id = asked.website_id AND done.message_id = asked.message_id
  LEFT JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
 ORDER BY w.id
   FOR NO KEY UPDATE OF w SKIP LOCKED
