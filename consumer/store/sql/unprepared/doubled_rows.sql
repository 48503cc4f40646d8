-- Which rows a unique index forbids: groups of ids that are the same in all its columns, the first $1, and how many
-- groups there are. A row with a NULL in one of the columns is none. What stands in braces is replaced.
SELECT array_agg(id::text ORDER BY id) AS ids, count(*) OVER ()::int AS groups
  FROM {table}
 WHERE {filled} AND {predicate}
 GROUP BY {columns} HAVING count(*) > 1
 ORDER BY (array_agg(id ORDER BY id))[1]
 LIMIT $1
