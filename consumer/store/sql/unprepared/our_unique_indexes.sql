-- The unique indexes on the existing product's tables that `init` has built: those with its comment $1, and by name $2.
SELECT c.oid::regclass::text AS name
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_class AS of ON of.oid = i.indrelid
 WHERE i.indisunique AND NOT i.indisprimary
   AND of.oid = to_regclass(quote_ident(of.relname)) AND starts_with(of.relname, 'pwb_')
   AND (obj_description(c.oid, 'pg_class') = $1 OR c.relname = ANY ($2::text[]))
 ORDER BY 1
