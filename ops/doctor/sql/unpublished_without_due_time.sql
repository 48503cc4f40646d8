-- Websites with an unpublished event and no due time: no dispatcher will send it. Those without the next command are asleep.
SELECT id
  FROM pwb_websites
 WHERE provisioning_due_at IS NULL AND provisioning_published_seq < provisioning_seq
 LIMIT $1
