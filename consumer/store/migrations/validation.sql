-- Validates the checks that are NOT VALID. It stops neither readers nor writers, and what it cannot validate, because
-- rows break it, stays NOT VALID: those rows cannot be written until they comply.
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT conname AS name FROM pg_constraint
                 WHERE conrelid = 'pwb_websites'::regclass AND contype = 'c' AND NOT convalidated
                   AND starts_with(conname, 'provisioning_') ORDER BY 1
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE pwb_websites VALIDATE CONSTRAINT %I', rule.name);
        EXCEPTION WHEN check_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;
