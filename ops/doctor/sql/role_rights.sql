-- Which rights the role of this session has on each table that is there: on all of its columns, and on some.
SELECT asked.name, kind.privilege, pg_has_role(c.relowner, 'USAGE') AS owned,
       has_table_privilege(c.oid, kind.privilege) AS on_all,
       CASE WHEN kind.by_column THEN has_any_column_privilege(c.oid, kind.privilege)
            ELSE has_table_privilege(c.oid, kind.privilege) END AS on_some
  FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place)
  JOIN pg_class AS c ON c.oid = to_regclass(asked.name)
 CROSS JOIN (VALUES ('SELECT', true), ('INSERT', true), ('UPDATE', true), ('REFERENCES', true),
                    ('DELETE', false), ('TRUNCATE', false), ('TRIGGER', false)) AS kind (privilege, by_column)
 ORDER BY asked.place
