-- What the role of this session may do beside its rights on tables.
SELECT rolsuper AS superuser, rolcreaterole AS create_role, rolcreatedb AS create_database, rolbypassrls AS bypass_rls,
       has_schema_privilege(current_schema(), 'CREATE') AS create_in_schema
  FROM pg_roles
 WHERE rolname = current_user
