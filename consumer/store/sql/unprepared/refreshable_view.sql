-- Whether the existing product's view of properties is there, and the function that refreshes it, which a guest's rules have.
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pwb_properties') AND relkind = 'm')
   AND to_regprocedure('provisioning_refresh_properties(timestamptz)') IS NOT NULL
