-- Websites that are owed a command or an event, and which no clock will wake: nobody will send it. By the index on states
-- as far as they are on their way; the rest is a look at the whole table.
SELECT id
  FROM pwb_websites
 WHERE provisioning_due_at IS NULL AND provisioning_seq > 0
   AND (provisioning_published_seq < provisioning_seq
        OR (provisioning_state = ANY ($1::text[]) AND NOT (provisioning_state = 'ready' AND NOT auto_go_live)))
 LIMIT $2
