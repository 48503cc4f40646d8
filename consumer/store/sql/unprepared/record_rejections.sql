-- Records signups that were rejected, once each, and deletes some that are older than progress answers from.
-- Returns when each was first rejected.
WITH expired AS (
    DELETE FROM provisioning_rejections
     WHERE message_id IN (SELECT message_id
                            FROM provisioning_rejections
                           WHERE rejected_at < now() - interval '30 days'
                           ORDER BY rejected_at
                           LIMIT 100
                             FOR UPDATE SKIP LOCKED)
)
INSERT INTO provisioning_rejections AS kept (message_id, website_id, code)
SELECT DISTINCT ON (message_id) message_id, website_id, code
  FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS rejected (message_id, website_id, code)
 ORDER BY message_id
    ON CONFLICT (message_id) DO UPDATE SET code = kept.code
RETURNING message_id, rejected_at
