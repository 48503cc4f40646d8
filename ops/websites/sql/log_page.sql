-- A page of the log after a key; rows outside the time span only say how far the reading went.
SELECT page.website_id, page.seq, page.occurred_at BETWEEN $3 AND $4 AS wanted, page.trigger, page.from_state,
       page.to_state, page.message_id, page.actor, page.reason, page.detail::text, page.occurred_at
  FROM (SELECT * FROM provisioning_transitions
         WHERE (website_id, seq) > ($1::bigint, $2::int)
         ORDER BY website_id, seq
         LIMIT $5) AS page
 ORDER BY page.website_id, page.seq
