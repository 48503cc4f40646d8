-- What of these tables, and of functions by name, is there: columns with their defaults, indexes, triggers, constraints.
WITH wanted AS (
    SELECT name, to_regclass(name) AS id FROM unnest($1::text[]) AS asked (name)
)
SELECT 'column' AS kind, w.name AS of, a.attname::text AS name, pg_get_expr(d.adbin, d.adrelid) AS detail, true AS good
  FROM wanted AS w
  JOIN pg_attribute AS a ON a.attrelid = w.id AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 UNION ALL
SELECT 'index', w.name, c.relname::text, CASE WHEN i.indisunique THEN 'unique' END, i.indisvalid AND i.indisready
  FROM wanted AS w JOIN pg_index AS i ON i.indrelid = w.id JOIN pg_class AS c ON c.oid = i.indexrelid
 UNION ALL
SELECT 'trigger', w.name, t.tgname::text, NULL, t.tgenabled IN ('O', 'A')
  FROM wanted AS w JOIN pg_trigger AS t ON t.tgrelid = w.id AND NOT t.tgisinternal
 UNION ALL
SELECT 'constraint', w.name, c.conname::text, NULL, c.convalidated
  FROM wanted AS w JOIN pg_constraint AS c ON c.conrelid = w.id
 UNION ALL
SELECT 'function', '', p.proname::text, p.prosrc, true
  FROM unnest($2::text[]) AS asked (name) JOIN pg_proc AS p ON p.oid = to_regproc(asked.name)
