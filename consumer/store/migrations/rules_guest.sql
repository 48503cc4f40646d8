-- In a database of the existing product, which goes on as before: it writes websites in any state, in as many statements
-- as it likes. Rows of this service's own are those that have moved by it, tried to, or have its request stored; on them the
-- rules of the machine hold, and what the product does to them is logged, so that its event is published.
--
-- A write of the product is known by provisioning_seq: each transition that this service writes raises it in the same
-- statement, and nobody else does.
DROP TRIGGER IF EXISTS provisioning_born_pending ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_moves_along_edges ON pwb_websites;
DO $$
DECLARE
    installation jsonb := obj_description('provisioning_migrations'::regclass, 'pg_class');
BEGIN
    -- Until now the service had the database for its own: the default that was there before.
    IF installation ->> 'mode' = 'own' AND installation ->> 'state_default' IS NOT NULL THEN
        EXECUTE 'ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT ' || (installation ->> 'state_default');
    END IF;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'pwb_websites'::regclass AND attname = 'provisioning_due_at'
                                          AND atthasdef) THEN
        ALTER TABLE pwb_websites ALTER provisioning_due_at DROP DEFAULT;
    END IF;
END
$$;

-- Trigger function: a failed website has an error and a time, another has neither, whatever order they are written in.
CREATE OR REPLACE FUNCTION provisioning_fill_failure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.provisioning_state = 'failed' THEN
        NEW.provisioning_error := coalesce(NEW.provisioning_error, 'Failed by the product, which gave no reason');
        NEW.provisioning_failed_at := coalesce(NEW.provisioning_failed_at, now());
    ELSE
        NEW.provisioning_error := NULL;
        NEW.provisioning_failed_at := NULL;
    END IF;
    RETURN NEW;
END
$$;

-- Trigger function: logs what the product does to a website of this service's own, as a transition that is due now, so
-- that the dispatcher publishes its event and the command that follows; older commands are stale by it.
CREATE OR REPLACE FUNCTION provisioning_log_product_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    cause uuid := gen_random_uuid();
    hex text := replace(cause::text, '-', '');
    logged text := (SELECT t.to_state FROM provisioning_transitions AS t
                     WHERE t.website_id = NEW.id AND t.seq = OLD.provisioning_seq);
    -- Where its log ends, so that this closes a gap, if the product moved it while the triggers were away. A website that
    -- was deleted and inserted again begins at pending once more.
    source text := CASE WHEN OLD.provisioning_state = 'pending'
                             AND (NEW.provisioning_state <> 'pending' OR logged IS DISTINCT FROM 'failed') THEN 'pending'
                        ELSE coalesce(logged, OLD.provisioning_state) END;
    -- Locking is the product's own way from ready to live.
    origin text := CASE WHEN starts_with(source, 'locked_pending_') THEN 'ready' ELSE source END;
    met text[];
    lacking text[];
    move record;
BEGIN
    IF NEW.provisioning_state = source THEN
        -- The product fails a website in one statement, and says why in the next one of the same transaction.
        UPDATE provisioning_transitions
           SET detail = detail || jsonb_build_object('error', NEW.provisioning_error,
                                                     'message', 'Setup failed: ' || NEW.provisioning_error)
         WHERE website_id = NEW.id AND seq = NEW.provisioning_seq AND NEW.provisioning_state = 'failed'
           AND NEW.provisioning_error IS DISTINCT FROM OLD.provisioning_error
           AND detail ->> 'transaction' = pg_current_xact_id()::text;
        RETURN NEW;
    END IF;
    SELECT coalesce(array_agg(item.key) FILTER (WHERE item.have >= item.need), '{}'),
           coalesce(array_agg(replace(replace(replace(item.missing, '{key}', item.key), '{have}', item.have::text),
                                      '{need}', item.need::text) ORDER BY item.place)
                    FILTER (WHERE item.have < item.need), '{}')
      INTO met, lacking
      FROM (SELECT NEW.id) AS asked (id),
           LATERAL (VALUES{requirements}) AS item (place, key, have, need, missing);
    WITH chain (place, state, progress, message, skipped, following, following_skipping, held, needs) AS (VALUES{chain})
    SELECT coalesce(CASE NEW.provisioning_state
                        WHEN 'locked_pending_email_verification' THEN 'enter_locked_state'
                        WHEN 'locked_pending_registration' THEN 'verify_owner_email' END,
                    CASE WHEN source = 'locked_pending_registration' AND NEW.provisioning_state = 'live'
                         THEN 'complete_owner_registration' END,
                    (SELECT edge.trigger FROM (VALUES{triggers}) AS edge (source_state, target, trigger, skips)
                      WHERE edge.source_state = origin AND edge.target = NEW.provisioning_state
                      ORDER BY edge.skips = NEW.provisioning_skip_properties DESC LIMIT 1),
                    'moved_by_product') AS trigger,
           CASE NEW.provisioning_state
               WHEN 'failed' THEN coalesce((SELECT c.progress FROM chain AS c
                                             WHERE c.place <= (SELECT last.place FROM chain AS last WHERE last.state = origin)
                                               AND c.needs <@ met
                                             ORDER BY c.place DESC LIMIT 1), 0)
               {locked_progress}
               ELSE here.progress END AS progress,
           CASE NEW.provisioning_state
               WHEN 'failed' THEN 'Setup failed: ' || NEW.provisioning_error
               {locked_messages}
               ELSE coalesce(CASE WHEN NEW.provisioning_skip_properties OR {properties} = 0 THEN here.skipped END, here.message,
                             NEW.provisioning_state) END AS message,
           CASE WHEN here.held AND NOT NEW.provisioning_auto_go_live THEN NULL
                WHEN NEW.provisioning_skip_properties THEN here.following_skipping
                ELSE here.following END AS following
      INTO move
      FROM (VALUES (NEW.provisioning_state)) AS now_at (state) LEFT JOIN chain AS here ON here.state = now_at.state;
    NEW.provisioning_seq := OLD.provisioning_seq + 1;
    NEW.provisioning_attempts := 0;
    NEW.provisioning_attempt_error := NULL;
    NEW.provisioning_due_at := now();
    NEW.provisioning_failed_from := CASE WHEN NEW.provisioning_state = 'failed' THEN origin END;
    INSERT INTO provisioning_transitions
           (website_id, seq, trigger, from_state, to_state, message_id, actor, detail, occurred_at)
    VALUES (NEW.id, NEW.provisioning_seq, move.trigger, source, NEW.provisioning_state, cause, 'product',
            jsonb_build_object(
                'subdomain', NEW.subdomain, 'progress', move.progress, 'message', move.message,
                'error', CASE WHEN NEW.provisioning_state = 'failed' THEN NEW.provisioning_error END,
                'missing', to_jsonb(lacking), 'next', move.following,
                'traceparent', format('00-%s-%s-01', hex, right(hex, 16)),
                'transaction', pg_current_xact_id()::text),
            statement_timestamp());
    RETURN NEW;
END
$$;

-- Trigger function: a website that the product provisions is looked after when nobody has written to it for ten minutes.
-- Where it has failed, that is remembered by the state from which it did, until the product sends it round again.
CREATE OR REPLACE FUNCTION provisioning_postpone_rescue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.provisioning_due_at := CASE WHEN NEW.provisioning_state IN ({moving}) THEN now() + interval '10 minutes' END;
    IF TG_OP = 'UPDATE' AND NEW.provisioning_state <> OLD.provisioning_state THEN
        NEW.provisioning_failed_from := CASE WHEN NEW.provisioning_state = 'failed' THEN OLD.provisioning_state END;
    END IF;
    RETURN NEW;
END
$$;

-- Refreshes the view that the product's search reads, unless it is as new as asked; returns in how many seconds to ask
-- again, NULL where that is not needed. One refreshes at a time, and not within 30 s of the last time, whoever asks.
CREATE OR REPLACE FUNCTION provisioning_refresh_properties(asked_at timestamptz) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    properties oid := (SELECT oid FROM pg_class WHERE oid = to_regclass('pwb_properties') AND relkind = 'm');
    last provisioning_refreshes;
    pause double precision;
    began timestamptz;
BEGIN
    IF properties IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('provisioner refresh')) THEN
        RETURN 1;
    END IF;
    SELECT * INTO last FROM provisioning_refreshes AS r WHERE r.view = 'pwb_properties';
    IF last.began_at >= asked_at THEN
        RETURN NULL;
    END IF;
    pause := 30 - extract(epoch FROM clock_timestamp() - last.ended_at);
    IF pause > 0 THEN
        RETURN pause;
    END IF;
    began := clock_timestamp();
    -- Readers go on meanwhile where the view has a unique index on columns alone, and has been filled once.
    EXECUTE format('REFRESH MATERIALIZED VIEW %s %s',
                   CASE WHEN EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
                                      WHERE i.indrelid = properties AND c.relispopulated AND i.indisunique
                                        AND i.indisvalid AND i.indimmediate
                                        AND i.indpred IS NULL AND i.indexprs IS NULL)
                        THEN 'CONCURRENTLY' END, properties::regclass);
    INSERT INTO provisioning_refreshes (view, began_at, ended_at)
    VALUES ('pwb_properties', began, clock_timestamp())
    ON CONFLICT (view) DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at;
    RETURN NULL;
END
$$;

-- Trigger function: refuses a subdomain of a signup that another has in the pool from which the product's own signup
-- reserves, as one that another website has. Its row stays locked until the name is marked: the product locks it first, too.
CREATE OR REPLACE FUNCTION provisioning_check_pool() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pool record;
BEGIN
    IF to_regclass('pwb_subdomains') IS NULL THEN
        RETURN NEW;
    END IF;
    SELECT * INTO pool FROM pwb_subdomains WHERE name = lower(NEW.subdomain) FOR UPDATE;
    IF pool.aasm_state = 'allocated' AND pool.website_id IS DISTINCT FROM NEW.id
       OR pool.aasm_state = 'reserved' AND coalesce(pool.reserved_until > now(), true) AND NOT EXISTS (
           SELECT NEW.owner_email WHERE lower(NEW.owner_email) = lower(pool.reserved_by_email)
            UNION ALL
           SELECT u.email
             FROM pwb_users AS u
            WHERE lower(u.email) = lower(pool.reserved_by_email)
              AND (u.id = (NEW.provisioning_request #>> '{owner,user_id}')::bigint
                   OR EXISTS (SELECT FROM pwb_user_memberships AS m
                               WHERE m.user_id = u.id AND m.website_id = NEW.id AND m.role = 'owner' AND m.active)))
    THEN
        IF TG_OP = 'INSERT' THEN
            RETURN NULL;  -- As ON CONFLICT DO NOTHING does; the signup is then told apart by its missing row.
        END IF;
        RAISE EXCEPTION 'the subdomain of website % is reserved for another owner', NEW.id
              USING ERRCODE = 'unique_violation', TABLE = 'pwb_websites', CONSTRAINT = 'pwb_subdomains';
    END IF;
    RETURN NEW;
END
$$;

-- Trigger function: marks the subdomain of a signup as used in that pool, as the product does.
CREATE OR REPLACE FUNCTION provisioning_mark_pool() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('pwb_subdomains') IS NOT NULL THEN
        UPDATE pwb_subdomains
           SET aasm_state = 'allocated', website_id = NEW.id, reserved_at = NULL, reserved_until = NULL,
               reserved_by_email = NULL, updated_at = now()
         WHERE name = lower(NEW.subdomain);
    END IF;
    RETURN NEW;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    -- They read and write this service's own tables, whoever fires them; the product's role needs no right on those.
    FOREACH name IN ARRAY ARRAY['provisioning_fill_failure', 'provisioning_log_product_move',
                                'provisioning_postpone_rescue', 'provisioning_check_pool',
                                'provisioning_mark_pool'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SECURITY DEFINER SET timezone = ''UTC'' SET search_path = ', name)
                || (SELECT string_agg(quote_ident(folder), ', ') FROM unnest(current_schemas(false)) AS path (folder))
                || ', pg_temp';
        -- Else whoever may make a trigger could have them run, with these rights, for a table of their own.
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I FROM PUBLIC', name);
    END LOOP;
    -- Whoever may connect may call this one: it gives nothing away, and does not more however often it is called. Who
    -- waits for a strong lock on the view keeps its readers waiting behind him.
    EXECUTE 'ALTER FUNCTION provisioning_refresh_properties(timestamptz) SECURITY DEFINER SET timezone = ''UTC'' '
            || 'SET lock_timeout = ''2s'' SET search_path = '
            || (SELECT string_agg(quote_ident(folder), ', ') FROM unnest(current_schemas(false)) AS path (folder))
            || ', pg_temp';
END
$$;

-- Triggers on one event fire in the order of their names.
CREATE OR REPLACE TRIGGER provisioning_fills_failure BEFORE INSERT OR UPDATE ON pwb_websites
    FOR EACH ROW WHEN (({ours}) AND CASE WHEN NEW.provisioning_state = 'failed'
        THEN NEW.provisioning_error IS NULL OR NEW.provisioning_failed_at IS NULL
        ELSE NEW.provisioning_error IS NOT NULL OR NEW.provisioning_failed_at IS NOT NULL END)
    EXECUTE FUNCTION provisioning_fill_failure();
CREATE OR REPLACE TRIGGER provisioning_guards_own_rows BEFORE UPDATE OF provisioning_state ON pwb_websites
    FOR EACH ROW WHEN (({ours}) AND OLD.provisioning_state IS DISTINCT FROM NEW.provisioning_state
        -- The product locks a website that is held at ready, and what it has locked it moves as it sees fit.
        AND NOT starts_with(OLD.provisioning_state, 'locked_pending_')
        AND NOT (OLD.provisioning_state = 'ready' AND NOT NEW.provisioning_auto_go_live
                 AND NEW.provisioning_state = 'locked_pending_email_verification'))
    EXECUTE FUNCTION provisioning_refuse_illegal_change();
CREATE OR REPLACE TRIGGER provisioning_logs_product_moves
    BEFORE UPDATE OF provisioning_state, provisioning_error ON pwb_websites
    FOR EACH ROW WHEN (({ours}) AND NEW.provisioning_seq = OLD.provisioning_seq)
    EXECUTE FUNCTION provisioning_log_product_move();
CREATE OR REPLACE TRIGGER provisioning_postpones_rescue BEFORE UPDATE ON pwb_websites
    FOR EACH ROW WHEN (NOT ({ours}) AND NEW.provisioning_due_at IS NOT DISTINCT FROM OLD.provisioning_due_at
        AND (OLD.provisioning_due_at IS NOT NULL
             OR OLD.provisioning_state = 'failed' AND NEW.provisioning_state <> 'failed'
                AND OLD.provisioning_failed_from IS NOT NULL))
    EXECUTE FUNCTION provisioning_postpone_rescue();
CREATE OR REPLACE TRIGGER provisioning_sets_rescue BEFORE INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.provisioning_state = 'pending' AND NEW.provisioning_due_at IS NULL)
    EXECUTE FUNCTION provisioning_postpone_rescue();
CREATE OR REPLACE TRIGGER provisioning_checks_pool BEFORE INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.subdomain = NEW.provisioning_request ->> 'subdomain')
    EXECUTE FUNCTION provisioning_check_pool();
CREATE OR REPLACE TRIGGER provisioning_checks_pool_later BEFORE UPDATE OF subdomain ON pwb_websites
    FOR EACH ROW WHEN (OLD.subdomain IS NULL AND NEW.subdomain = NEW.provisioning_request ->> 'subdomain')
    EXECUTE FUNCTION provisioning_check_pool();
CREATE OR REPLACE TRIGGER provisioning_marks_pool AFTER INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.subdomain = NEW.provisioning_request ->> 'subdomain')
    EXECUTE FUNCTION provisioning_mark_pool();
CREATE OR REPLACE TRIGGER provisioning_marks_pool_later AFTER UPDATE OF subdomain ON pwb_websites
    FOR EACH ROW WHEN (OLD.subdomain IS NULL AND NEW.subdomain = NEW.provisioning_request ->> 'subdomain')
    EXECUTE FUNCTION provisioning_mark_pool();

-- What the product did while they were away is made good afterwards: update_rows_guest.sql.
DELETE FROM provisioning_migrations WHERE name = 'update_rows_guest';
