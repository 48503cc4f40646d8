-- Records that every event of websites at rest is published, once the broker has confirmed the last one, and clears
-- their due time. Only where it is still their last, they still rest, and no attempt is due: a go_live that was asked
-- for keeps its due time. And only where the events up to `confirmed` are published: a command of ops may have
-- overtaken a step whose event was lost. The state is no expression that an index has: by it, the planner would read
-- every website at rest.
UPDATE pwb_websites AS w
   SET provisioning_due_at = NULL, provisioning_published_seq = w.provisioning_seq
  FROM unnest($1::bigint[], $2::int[], $3::int[]) AS rest (website_id, seq, confirmed)
 WHERE w.id = rest.website_id
   AND w.provisioning_seq = rest.seq
   AND w.provisioning_published_seq >= rest.confirmed
   AND w.provisioning_attempts = 0
   AND (w.provisioning_state || '' = ANY ($4::text[])
        OR (w.provisioning_state || '' = 'ready' AND NOT w.provisioning_auto_go_live))
