-- Which rights this role lacks on tables that are there. A right on some columns counts: column-level grants are fine.
SELECT wanted.name, wanted.privilege
  FROM unnest($1::text[], $2::text[]) AS wanted (name, privilege)
  JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
 WHERE NOT CASE WHEN wanted.privilege = 'DELETE' THEN has_table_privilege(c.oid, 'DELETE')
                ELSE has_any_column_privilege(c.oid, wanted.privilege) END
 UNION ALL
SELECT wanted.name, 'USAGE on ' || s.relname || ' for ids'
  FROM unnest($1::text[], $2::text[]) AS wanted (name, privilege)
  JOIN pg_depend AS d ON d.refobjid = to_regclass(wanted.name) AND d.deptype = 'a'
                     AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class AS s ON s.oid = d.objid
 WHERE wanted.privilege = 'INSERT'
   AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') ELSE false END
