-- Locks the websites of a batch that nobody else holds, in id order, and looks into the log as lock_waiting.sql does; the
-- rest are left to go round again alone.
SELECT w.id, w.subdomain, w.site_type, w.seed_pack_name, w.owner_email, w.skip_properties, w.auto_go_live,
       w.provisioning_state, w.provisioning_failed_from, w.provisioning_seq, w.provisioning_attempts,
       w.provisioning_request::text, w.created_at,
       done.seq AS done_seq, coalesce(last.seq, 0) AS seen_seq, last.message_id AS last_message_id
  FROM unnest($1::bigint[], $2::uuid[]) AS asked (website_id, message_id)
  JOIN pwb_websites AS w ON w.id = asked.website_id
  LEFT JOIN provisioning_transitions AS done
         ON done.website_id = asked.website_id AND done.message_id = asked.message_id
  LEFT JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
 ORDER BY w.id
   FOR NO KEY UPDATE OF w SKIP LOCKED
