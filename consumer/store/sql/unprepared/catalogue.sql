-- What of these tables, and of functions by name, is in the catalogue, with the trait by which each is compared: a
-- default, the columns of an index and whether it is unique or partial, the text of a check or function. Not so primary and foreign keys: those of its
-- tables are the existing product's. It locks no table: pg_get_expr would lock the one that it is given, so it gets none.
WITH wanted AS (
    SELECT name, to_regclass(name) AS id FROM unnest($1::text[]) AS wanted (name)
)
SELECT 'table' AS kind, name AS of, name, NULL AS trait, true AS in_force FROM wanted WHERE id IS NOT NULL
 UNION ALL
SELECT 'column', w.name, a.attname::text,
       CASE a.attname WHEN 'provisioning_state' THEN split_part(pg_get_expr(d.adbin, 0), '::', 1)
                      WHEN 'provisioning_due_at' THEN CASE WHEN a.atthasdef THEN 'default' ELSE 'no default' END END,
       true
  FROM wanted AS w
  JOIN pg_attribute AS a ON a.attrelid = w.id AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
 UNION ALL
SELECT 'index', w.name, c.relname::text,
       CASE WHEN i.indisunique THEN 'unique ' ELSE '' END
           || (SELECT format('(%s)', string_agg(coalesce(a.attname, 'lower(' || b.attname || ')', 'an expression'), ', '
                                                ORDER BY key.place))
                 FROM unnest(i.indkey) WITH ORDINALITY AS key (attnum, place)
                 LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
                 -- The one expression that is told apart, lower(a column), in the form in which it is stored: its text
                 -- is not to be had without a lock.
                 LEFT JOIN pg_attribute AS b ON b.attrelid = i.indrelid AND key.attnum = 0 AND b.attnum::text =
                     substring(i.indexprs::text FROM '^\(\{FUNCEXPR :funcid 870 [^{]*:args \((?:\{RELABELTYPE :arg )?'
                                                     '\{VAR :varno 1 :varattno ([0-9]+) [^{]*$')
                WHERE key.place <= i.indnkeyatts)
           || CASE WHEN i.indpred IS NULL THEN '' ELSE ' where' END,
       i.indisvalid AND i.indisready
  FROM wanted AS w JOIN pg_index AS i ON i.indrelid = w.id JOIN pg_class AS c ON c.oid = i.indexrelid
 WHERE NOT i.indisprimary
 UNION ALL
SELECT 'constraint', w.name, c.conname::text, obj_description(c.oid, 'pg_constraint'), c.convalidated
  FROM wanted AS w JOIN pg_constraint AS c ON c.conrelid = w.id AND c.contype IN ('c', 'u')
 UNION ALL
SELECT 'trigger', w.name, t.tgname::text, NULL, t.tgenabled IN ('O', 'A')
  FROM wanted AS w JOIN pg_trigger AS t ON t.tgrelid = w.id AND NOT t.tgisinternal
 UNION ALL
SELECT 'function', '', p.proname::text,
       concat_ws(E'\n', CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
                 CASE WHEN p.proconfig::text LIKE '%search_path=%' THEN 'SET search_path' END, p.prosrc),
       true
  FROM unnest($2::text[]) AS wanted (name) JOIN pg_proc AS p ON p.oid = to_regproc(wanted.name)
 UNION ALL
SELECT 'comment', 'provisioning_migrations', 'installation',
       obj_description(to_regclass('provisioning_migrations'), 'pg_class'), true
