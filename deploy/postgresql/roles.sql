-- The four database roles of the service, each with what it needs and no more. Run it as a superuser in the service's
-- database, before the first `provisioner init` and again after each: it grants rights on the tables that are there, and
-- takes back what a role had before. The roles have no password, so nobody can log in by one: passwords.sql sets them.
--
--     psql -f roles.sql
--
-- provisioner_migrate  runs `provisioner init`, and owns the tables that it makes
-- provisioner_worker   runs `provisioner worker`
-- provisioner_ops      runs the console and all commands that change something
-- provisioner_reader   runs the commands that show something

BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['provisioner_migrate', 'provisioner_worker', 'provisioner_ops', 'provisioner_reader']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
        IF name = 'provisioner_migrate' THEN
            EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', current_schema(), name);
        ELSE
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), name);
            EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM %I', current_schema(), name);
        END IF;
    END LOOP;
END
$$;

-- Rights on tables. Columns stand where a whole table would be too much: the product's pwb_users has the hashes of
-- passwords, and whoever may write to every column of pwb_websites may write history that never was.
DO $$
DECLARE
    entry record;
BEGIN
    FOR entry IN
        SELECT role.name AS role, wanted.privileges, wanted.relation
          FROM (VALUES
            -- Workers move websites, seed what they lack, and write the log; they change no log row, and delete nothing
            -- but rows of workers and pauses.
            ('worker', 'SELECT', 'pwb_websites'),
            ('worker', 'INSERT (id, subdomain, site_type, seed_pack_name, owner_email, provisioning_skip_properties,
                provisioning_auto_go_live, provisioning_request, provisioning_state, created_at, updated_at)',
                'pwb_websites'),
            ('worker', 'UPDATE (subdomain, site_type, seed_pack_name, owner_email, provisioning_request,
                provisioning_state, provisioning_seq, provisioning_published_seq, provisioning_attempts,
                provisioning_attempt_error, provisioning_due_at, provisioning_started_at, provisioning_completed_at,
                provisioning_failed_at, provisioning_error, provisioning_failed_from, provisioning_auto_go_live,
                updated_at)', 'pwb_websites'),
            ('worker', 'SELECT (id, email, website_id), INSERT (email, first_names, last_names, website_id, created_at, updated_at)',
                'pwb_users'),
            ('worker', 'SELECT, INSERT, UPDATE (role, active, updated_at)', 'pwb_user_memberships'),
            ('worker', 'SELECT, INSERT', 'pwb_agencies'),
            ('worker', 'SELECT, INSERT', 'pwb_links'),
            ('worker', 'SELECT, INSERT', 'pwb_field_keys'),
            ('worker', 'SELECT, INSERT', 'pwb_realty_assets'),
            ('worker', 'SELECT, INSERT', 'pwb_sale_listings'),
            ('worker', 'SELECT, INSERT', 'pwb_rental_listings'),
            -- The existing product's own.
            ('worker', 'SELECT, INSERT', 'pwb_features'),
            ('worker', 'SELECT, INSERT', 'pwb_prop_photos'),
            ('worker', 'SELECT, INSERT', 'provisioning_transitions'),
            -- To move its sequence past its ids.
            ('worker', 'SELECT (id)', 'provisioning_operator_actions'),
            ('worker', 'SELECT, INSERT, DELETE, UPDATE (seen_at, in_flight, paused, last_delivery_at)',
                'provisioning_workers'),
            ('worker', 'SELECT, DELETE', 'provisioning_pauses'),
            ('worker', 'SELECT', 'provisioning_migrations'),
            -- To know a late copy of a message whose row was pruned.
            ('worker', 'SELECT', 'provisioning_pruned'),
            ('worker', 'SELECT, INSERT, UPDATE (code), DELETE', 'provisioning_rejections'),

            -- Operators read, and write who did what and which workers pause; websites are moved by workers alone.
            ('ops', 'INSERT (actor, person, proof, verb, reason, target, detail), UPDATE (outcome, result, settled_at)',
                'provisioning_operator_actions'),
            ('ops', 'INSERT, UPDATE (outcome)', 'provisioning_action_items'),
            ('ops', 'INSERT (worker, actor, reason), DELETE', 'provisioning_pauses'),
            -- The console, which runs as this role, keeps who has signed in.
            ('ops', 'SELECT, INSERT, UPDATE, DELETE', 'provisioning_sessions'),
            -- Who may read the queue of dead letters writes down what is in it, for all who may read the table.
            ('ops', 'INSERT, DELETE', 'provisioning_dead_letters'),
            ('ops', 'INSERT, UPDATE', 'provisioning_dead_letter_readings'),

            -- For the doctor, which compares the existing product's sequences with its ids.
            ('ops reader', 'SELECT (id)', 'pwb_features'),
            ('ops reader', 'SELECT (id)', 'pwb_prop_photos'),

            -- Readers see what operators see, and write nothing.
            ('ops reader', 'SELECT', 'pwb_websites'),
            ('ops reader', 'SELECT (id, email)', 'pwb_users'),
            ('ops reader', 'SELECT', 'pwb_user_memberships'),
            ('ops reader', 'SELECT', 'pwb_subdomains'),
            ('ops reader', 'SELECT', 'provisioning_operator_actions'),
            ('ops reader', 'SELECT', 'provisioning_action_items'),
            ('ops reader', 'SELECT', 'provisioning_pauses'),
            ('ops reader', 'SELECT', 'pwb_agencies'),
            ('ops reader', 'SELECT', 'pwb_links'),
            ('ops reader', 'SELECT', 'pwb_field_keys'),
            ('ops reader', 'SELECT', 'pwb_realty_assets'),
            ('ops reader', 'SELECT', 'pwb_sale_listings'),
            ('ops reader', 'SELECT', 'pwb_rental_listings'),
            ('ops reader', 'SELECT', 'provisioning_transitions'),
            ('ops reader', 'SELECT', 'provisioning_pruned'),
            ('ops reader', 'SELECT', 'provisioning_dead_letters'),
            ('ops reader', 'SELECT', 'provisioning_dead_letter_readings'),
            ('ops reader', 'SELECT', 'provisioning_workers'),
            ('ops reader', 'SELECT', 'provisioning_rejections'),
            ('ops reader', 'SELECT', 'provisioning_migrations')
          ) AS wanted (roles, privileges, relation)
         CROSS JOIN LATERAL string_to_table(wanted.roles, ' ') AS role (name)
         WHERE to_regclass(wanted.relation) IS NOT NULL
           -- The existing product's tables are there before `provisioner init` adds its columns to them.
           AND NOT EXISTS (
               SELECT FROM regexp_matches(wanted.privileges, '\(([^)]*)\)', 'g') AS list (columns)
                CROSS JOIN LATERAL regexp_split_to_table(list.columns[1], ',\s*') AS listed (name)
                WHERE NOT EXISTS (SELECT FROM pg_attribute AS a
                                   WHERE a.attrelid = to_regclass(wanted.relation) AND a.attname = listed.name
                                     AND NOT a.attisdropped))
    LOOP
        EXECUTE format('GRANT %s ON %s TO provisioner_%s', entry.privileges, to_regclass(entry.relation), entry.role);
    END LOOP;

    -- Operators erase and prune by functions of the schema alone, which write nothing of theirs.
    FOR entry IN
        SELECT oid::regprocedure AS name FROM pg_proc
         WHERE pronamespace = current_schema()::regnamespace AND proname IN ('provisioning_erase', 'provisioning_prune')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO provisioner_ops', entry.name);
    END LOOP;

    -- Counters that the existing product keeps beside its rows; a database of this service's own has none.
    FOR entry IN
        SELECT a.attrelid::regclass AS relation, a.attname AS name
          FROM (VALUES ('pwb_websites', 'realty_assets_count'), ('pwb_realty_assets', 'prop_photos_count'))
               AS counter (relation, name)
          JOIN pg_attribute AS a ON a.attrelid = to_regclass(counter.relation) AND a.attname = counter.name
                                AND NOT a.attisdropped
    LOOP
        EXECUTE format('GRANT UPDATE (%I) ON %s TO provisioner_worker', entry.name, entry.relation);
    END LOOP;

    -- The sequences behind the ids: workers draw from all, and move them past ids that signups bring; operators draw ids
    -- for websites that they submit, and everybody may see where they are.
    FOR entry IN
        SELECT seq.oid::regclass AS sequence, own.refobjid = to_regclass('pwb_websites') AS of_websites
          FROM pg_class AS seq
          JOIN pg_depend AS own ON own.classid = 'pg_class'::regclass AND own.objid = seq.oid
                               AND own.refclassid = 'pg_class'::regclass AND own.deptype IN ('a', 'i')
         WHERE seq.relkind = 'S'
           AND own.refobjid IN (SELECT to_regclass(name) FROM unnest(ARRAY[
               'pwb_websites', 'pwb_users', 'pwb_user_memberships', 'pwb_agencies', 'pwb_links', 'pwb_field_keys',
               'pwb_realty_assets', 'pwb_sale_listings', 'pwb_rental_listings', 'pwb_features', 'pwb_prop_photos',
               'provisioning_operator_actions'
               ]) AS listed (name))
    LOOP
        EXECUTE format('GRANT USAGE, SELECT, UPDATE ON SEQUENCE %s TO provisioner_worker', entry.sequence);
        EXECUTE format('GRANT %s ON SEQUENCE %s TO provisioner_ops',
                       CASE WHEN entry.of_websites THEN 'USAGE, SELECT, UPDATE' ELSE 'SELECT' END, entry.sequence);
        EXECUTE format('GRANT SELECT ON SEQUENCE %s TO provisioner_reader', entry.sequence);
    END LOOP;
END
$$;

COMMIT;
