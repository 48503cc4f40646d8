-- Which websites would get an owner, named by id, who belongs to another website; whom a website has already named, or
-- has as its active owner, it may name again.
SELECT asked.website_id
  FROM unnest($1::bigint[], $2::bigint[]) AS asked (website_id, user_id)
 WHERE (EXISTS (SELECT FROM pwb_user_memberships AS m
                 WHERE m.user_id = asked.user_id AND m.website_id <> asked.website_id)
        OR EXISTS (SELECT FROM pwb_users AS u WHERE u.id = asked.user_id AND u.website_id <> asked.website_id))
   AND NOT EXISTS (SELECT FROM pwb_user_memberships AS m
                    WHERE m.user_id = asked.user_id AND m.website_id = asked.website_id
                      AND m.role = 'owner' AND m.active)
   AND NOT EXISTS (SELECT FROM pwb_websites AS w
                    WHERE w.id = asked.website_id
                      AND w.provisioning_request #>> '{owner,user_id}' = asked.user_id::text)
