-- Draws ids for websites that signups are about to bring, and returns those that no website has.
WITH drawn AS MATERIALIZED (
    SELECT nextval($1::text::regclass) AS id FROM generate_series(1, $2::int)
)
SELECT drawn.id
  FROM drawn
 WHERE NOT EXISTS (SELECT FROM pwb_websites AS w WHERE w.id = drawn.id)
 ORDER BY drawn.id
