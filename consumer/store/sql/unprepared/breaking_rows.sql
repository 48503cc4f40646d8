-- Which websites break a check: the first $1, and how many there are. What stands in braces is replaced.
SELECT id, count(*) OVER ()::int AS count
  FROM pwb_websites
 WHERE NOT ({check})
 ORDER BY id
 LIMIT $1
