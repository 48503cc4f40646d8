-- The condition of an action that matches the filters; a part of found_actions and count_actions. Without $7 what holds an
-- e-mail address is not searched.
WHERE ($1::text IS NULL OR a.actor = $1 OR a.person = $1 OR right(a.actor, length($1) + 1) = ':' || $1)
   AND ($7::boolean OR strpos(coalesce($1, ''), '@') = 0)
   AND ($2::text IS NULL OR a.verb = $2)
   AND ($3::text IS NULL OR strpos(lower(a.target), lower($3)) > 0 AND ($7 OR strpos(a.target, '@') = 0)
        OR a.message_id = $3
        OR a.detail ->> 'worker' = $3 OR a.detail ->> 'name' = $3
        OR a.id IN (SELECT action_id FROM provisioning_action_items WHERE message_id = $3))
   AND ($4::bigint IS NULL OR a.website_id = $4
        OR a.id IN (SELECT action_id FROM provisioning_action_items WHERE website_id = $4))
   AND ($5::text IS NULL OR CASE WHEN a.outcome IS NULL THEN 'open' ELSE a.result END = $5)
   AND ($6::double precision IS NULL OR a.occurred_at >= now() - make_interval(secs => $6))
