-- What the websites have, read after the lock and after the step.
SELECT asked.id,
       (SELECT count(*) FROM pwb_user_memberships AS m
         WHERE m.website_id = asked.id AND m.role = 'owner' AND m.active) AS owners,
       (SELECT count(*) FROM pwb_agencies AS a WHERE a.website_id = asked.id) AS agencies,
       (SELECT count(*) FROM pwb_links AS l WHERE l.website_id = asked.id) AS links,
       (SELECT count(*) FROM pwb_field_keys AS k WHERE k.pwb_website_id = asked.id) AS field_keys,
       (SELECT count(*) FROM pwb_realty_assets AS p WHERE p.website_id = asked.id) AS properties
  FROM unnest($1::bigint[]) AS asked (id)
