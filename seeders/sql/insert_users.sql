-- Inserts users for the owners that signups named, in e-mail order and before any website is locked: opposite orders
-- would deadlock. Only for websites that still wait for their owner, so that a late duplicate makes no stray user. What
-- the website's row keeps of its signup wins over what the message brings. The state is no expression that an index
-- has: by it, the planner would read every pending website.
WITH wanted AS (
    SELECT asked.website_id,
           coalesce(w.provisioning_request #>> '{owner,email}', asked.email) AS email,
           nullif(btrim(CASE WHEN w.provisioning_request #>> '{owner,email}' IS NULL THEN asked.name
                             ELSE w.provisioning_request #>> '{owner,name}' END), '') AS name
      FROM unnest($1::bigint[], $2::text[], $3::text[]) AS asked (website_id, email, name)
      JOIN pwb_websites AS w ON w.id = asked.website_id
     WHERE w.provisioning_state || '' = 'pending' AND w.provisioning_request #>> '{owner,user_id}' IS NULL
)
INSERT INTO pwb_users (email, first_names, last_names, website_id, created_at, updated_at)
SELECT DISTINCT ON (lower(email)) email,
       CASE WHEN name ~ '\s' THEN regexp_replace(name, '\s+\S+$', '') ELSE name END,
       substring(name FROM '\s(\S+)$'),
       website_id, now(), now()
  FROM wanted
 WHERE email IS NOT NULL
 ORDER BY lower(email), website_id
-- Of whichever unique index: the existing product has one of the addresses as they are, beside ours without case.
ON CONFLICT DO NOTHING
RETURNING website_id
