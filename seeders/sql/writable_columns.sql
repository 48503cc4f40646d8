-- Which of these columns are there and may be read and written by this role, in tables that take a row of the columns asked
-- for: one that demands another value takes none. A right to insert counts only with that to take ids.
WITH asked AS (
    SELECT c.oid, asked.table_name, asked.column_name, asked.privilege
      FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (table_name, column_name, privilege)
      JOIN pg_class AS c ON c.oid = to_regclass(asked.table_name) AND c.relkind IN ('r', 'p')
)
SELECT asked.table_name, asked.column_name, asked.privilege
  FROM asked
  JOIN pg_attribute AS a ON a.attrelid = asked.oid AND a.attname = asked.column_name AND NOT a.attisdropped
 WHERE has_column_privilege(asked.oid, a.attnum, 'SELECT')
   AND has_column_privilege(asked.oid, a.attnum, asked.privilege)
   AND (asked.privilege <> 'INSERT'
        OR NOT EXISTS (SELECT FROM pg_attribute AS other
                        WHERE other.attrelid = asked.oid AND other.attnum > 0 AND NOT other.attisdropped
                          AND other.attnotnull AND NOT other.atthasdef AND other.attidentity = ''
                          AND other.attname NOT IN (SELECT a.column_name FROM asked AS a
                                                     WHERE a.oid = asked.oid AND a.privilege = 'INSERT'))
       AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid
                        WHERE d.refobjid = asked.oid AND d.deptype = 'a' AND d.classid = 'pg_class'::regclass
                          AND d.refclassid = 'pg_class'::regclass
                          AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE')
                                   ELSE false END))
