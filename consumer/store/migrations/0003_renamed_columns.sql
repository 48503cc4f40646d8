-- In batches: the columns that version 0.1.0 called skip_properties and auto_go_live: a word of the existing product's own
-- model. While they are there, workers of that version may run, and a trigger copies both ways; `provisioner init --finish`
-- ends that. What is in them is copied before the indexes are built, without which no worker of this version is ready.
DO $do$
DECLARE
    ids bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'pwb_websites'::regclass AND attname = 'skip_properties') THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger
                    WHERE tgrelid = 'pwb_websites'::regclass AND tgname = 'provisioning_copies_renamed_columns') THEN
        CREATE OR REPLACE FUNCTION provisioning_copy_renamed_columns() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.provisioning_skip_properties := NEW.provisioning_skip_properties OR NEW.skip_properties;
                NEW.provisioning_auto_go_live := NEW.provisioning_auto_go_live AND NEW.auto_go_live;
            ELSE
                IF NEW.provisioning_skip_properties = OLD.provisioning_skip_properties THEN
                    NEW.provisioning_skip_properties := NEW.skip_properties;
                END IF;
                IF NEW.provisioning_auto_go_live = OLD.provisioning_auto_go_live THEN
                    NEW.provisioning_auto_go_live := NEW.auto_go_live;
                END IF;
            END IF;
            NEW.skip_properties := NEW.provisioning_skip_properties;
            NEW.auto_go_live := NEW.provisioning_auto_go_live;
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER provisioning_copies_renamed_columns BEFORE INSERT OR UPDATE ON pwb_websites
            FOR EACH ROW EXECUTE FUNCTION provisioning_copy_renamed_columns();
        COMMIT;
    END IF;
    FOR ids IN
        SELECT array_agg(id)
          FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / {batch} AS batch
                  FROM pwb_websites
                 WHERE skip_properties <> provisioning_skip_properties OR auto_go_live <> provisioning_auto_go_live) AS differing
         GROUP BY batch ORDER BY batch
    LOOP
        -- The trigger changes both where a row is written to that has not been copied yet.
        UPDATE pwb_websites SET provisioning_skip_properties = skip_properties, provisioning_auto_go_live = auto_go_live
         WHERE id = ANY (ids)
           AND (skip_properties <> provisioning_skip_properties OR auto_go_live <> provisioning_auto_go_live);
        COMMIT;
    END LOOP;
END
$do$;
