-- Takes away from pwb_websites what binds others: triggers, their functions, checks, and defaults that `init` set. Rows,
-- columns and tables stay, and so does the comment by which the next `init` knows whose database it is. Where nothing is
-- left to take away, nothing is locked.
DO $$
DECLARE
    websites oid := to_regclass('pwb_websites');
    installation jsonb := obj_description(to_regclass('provisioning_migrations'), 'pg_class');
    found record;
BEGIN
    FOR found IN SELECT tgname AS name FROM pg_trigger
                  WHERE tgrelid = websites AND NOT tgisinternal AND starts_with(tgname, 'provisioning_') LOOP
        EXECUTE format('DROP TRIGGER %I ON pwb_websites', found.name);
    END LOOP;
    FOR found IN SELECT oid::regprocedure AS name FROM pg_proc
                  WHERE pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = websites)
                    AND (prorettype = 'trigger'::regtype AND starts_with(proname, 'provisioning_')
                         OR proname IN ('provisioning_refresh_properties', 'provisioning_erase', 'provisioning_prune',
                                       'provisioning_masked', 'provisioning_without_addresses',
                                       'provisioning_erased_detail')) LOOP
        EXECUTE format('DROP FUNCTION %s', found.name);
    END LOOP;
    FOR found IN SELECT conname AS name FROM pg_constraint
                  WHERE conrelid = websites AND contype = 'c' AND starts_with(conname, 'provisioning_') LOOP
        EXECUTE format('ALTER TABLE pwb_websites DROP CONSTRAINT %I', found.name);
    END LOOP;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = websites AND attname = 'provisioning_due_at' AND atthasdef) THEN
        ALTER TABLE pwb_websites ALTER provisioning_due_at DROP DEFAULT;
    END IF;
    IF installation ->> 'mode' = 'own' AND installation ->> 'state_default' IS NOT NULL THEN
        EXECUTE 'ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT ' || (installation ->> 'state_default');
    END IF;
    IF installation ->> 'mode' = 'guest' THEN
        -- From now on nobody puts them off while the product provisions: the next `init` is not to wake them.
        UPDATE pwb_websites SET provisioning_due_at = NULL
         WHERE provisioning_due_at IS NOT NULL
           AND provisioning_seq = 0 AND provisioning_attempts = 0 AND provisioning_request IS NULL;
    END IF;
END
$$;
