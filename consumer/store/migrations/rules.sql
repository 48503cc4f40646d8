-- Checks: known states only; failed goes with its error and its time; counters never pass one another. In a database of
-- the existing product they leave its own rows alone. A check is replaced where its text is another, which its comment
-- keeps: PostgreSQL itself keeps only what it parsed. NOT VALID, so that rows which break it do not stop the rest;
-- validation.sql reads them afterwards.
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('provisioning_state_known',
         $check${exempt}provisioning_state IN ({states})
            -- The existing product's own: what is there stays writable, the triggers let no website in.
            OR provisioning_state IN ('locked_pending_email_verification', 'locked_pending_registration')$check$),
        ('provisioning_failed_has_error',
         $check${exempt}CASE WHEN provisioning_state = 'failed'
            THEN provisioning_error IS NOT NULL AND provisioning_failed_at IS NOT NULL
            ELSE provisioning_error IS NULL AND provisioning_failed_at IS NULL END$check$),
        ('provisioning_counters_sane',
         $check$provisioning_attempts >= 0 AND provisioning_seq >= provisioning_published_seq
            AND provisioning_published_seq >= 0$check$)
        ) AS rules (name, body)
    LOOP
        IF rule.body IS DISTINCT FROM (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
                                        WHERE conname = rule.name AND conrelid = 'pwb_websites'::regclass) THEN
            EXECUTE format('ALTER TABLE pwb_websites DROP CONSTRAINT IF EXISTS %1$I,
                            ADD CONSTRAINT %1$I CHECK (%2$s) NOT VALID', rule.name, rule.body);
            EXECUTE format('COMMENT ON CONSTRAINT %I ON pwb_websites IS %L', rule.name, rule.body);
        END IF;
    END LOOP;
END
$$;

-- Trigger function: whatever writes to the table, a website is born pending and only moves along an edge of the machine.
CREATE OR REPLACE FUNCTION provisioning_refuse_illegal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'website % cannot be born %: a website starts as pending', NEW.id, NEW.provisioning_state
              USING ERRCODE = 'check_violation', HINT = 'Insert it as pending, then publish website.created.';
    END IF;
    IF OLD.provisioning_state || ' -> ' || NEW.provisioning_state <> ALL (ARRAY[{edges}]) THEN
        RAISE EXCEPTION 'website % cannot go from % to %', NEW.id, OLD.provisioning_state, NEW.provisioning_state
              USING ERRCODE = 'check_violation', HINT = 'docs/states.md has the legal transitions.';
    END IF;
    RETURN NEW;
END
$$;

-- Trigger function: a website that is deleted and inserted again under its id goes on where its log ends, so that no
-- seq is used twice.
CREATE OR REPLACE FUNCTION provisioning_continue_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT greatest(NEW.provisioning_seq, max(seq)), greatest(NEW.provisioning_published_seq, max(seq))
      INTO NEW.provisioning_seq, NEW.provisioning_published_seq
      FROM provisioning_transitions WHERE website_id = NEW.id;
    RETURN NEW;
END
$$;
DO $$
BEGIN
    -- It reads the log, whoever inserts; whose role needs no right on that.
    EXECUTE 'ALTER FUNCTION provisioning_continue_log() SECURITY DEFINER SET search_path = '
            || (SELECT string_agg(quote_ident(folder), ', ') FROM unnest(current_schemas(false)) AS path (folder))
            || ', pg_temp';
    -- Else whoever may make a trigger could have it run, with these rights, for a table of their own.
    REVOKE EXECUTE ON FUNCTION provisioning_continue_log FROM PUBLIC;
END
$$;
CREATE OR REPLACE TRIGGER provisioning_continues_log BEFORE INSERT ON pwb_websites
    FOR EACH ROW EXECUTE FUNCTION provisioning_continue_log();

-- Replaces each of the secrets in a text, in any case, where it is no part of another word or address.
CREATE OR REPLACE FUNCTION provisioning_masked(value text, secrets text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    secret text;
BEGIN
    FOREACH secret IN ARRAY secrets LOOP
        -- Few texts have one of them, and the pattern takes longer.
        CONTINUE WHEN strpos(lower(value), lower(secret)) = 0;
        value := regexp_replace(value, '(?<![\w.+@-])' || regexp_replace(secret, '([^[:alnum:]\s])', '\\\1', 'g')
                                       || '(?![\w@-]|\.\w)', 'erased', 'gi');
    END LOOP;
    RETURN value;
END
$$;

-- Replaces every e-mail address in a text: no mark that JSON needs is part of one.
CREATE OR REPLACE FUNCTION provisioning_without_addresses(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(value, '[^][\s@<>"''(),;:{}\\]+@[^][\s@<>"''(),;:{}\\]+', 'erased', 'g')
$$;

-- The detail of an action without errors, names and addresses; what else it has stays.
CREATE OR REPLACE FUNCTION provisioning_erased_detail(detail jsonb, secrets text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(pair.key, CASE
               WHEN pair.key = 'error' AND pair.value <> 'null' THEN '"erased"'
               WHEN jsonb_typeof(pair.value) = 'string' THEN to_jsonb(provisioning_without_addresses(
                   provisioning_masked(pair.value #>> '{}', secrets)))
               ELSE provisioning_without_addresses(pair.value::text)::jsonb END), '{}')
      FROM jsonb_each(detail) AS pair
$$;

-- Erases what this service keeps of the owner of a website at rest, and says how much that was; states and seqs stay.
-- `addresses` are the owner's, `letters` the message ids of dead letters about them, whose actions are theirs, too. Where
-- the website is under way, `at_rest` is false and nothing has changed. A website that is not there has a log all the
-- same. Without an id, actions are erased that have one of the addresses: for that all are read, so without a lock on any
-- website. See docs/decisions/0041.
CREATE OR REPLACE FUNCTION provisioning_erase(erased_id bigint, addresses text[], letters text[])
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    site pwb_websites;
    own boolean := obj_description('provisioning_migrations'::regclass, 'pg_class')::jsonb ->> 'mode' = 'own';
    ours boolean;
    emptied boolean := false;
    secrets text[];
    touched bigint[];
    item_actions bigint[];
    items integer[];
    log_rows bigint;
    actions bigint;
BEGIN
    SELECT * INTO site FROM pwb_websites WHERE id = erased_id FOR NO KEY UPDATE;
    ours := site.provisioning_seq > 0 OR site.provisioning_attempts > 0 OR site.provisioning_request IS NOT NULL;
    IF site.provisioning_due_at IS NOT NULL OR site.provisioning_attempts > 0
       OR site.provisioning_published_seq < site.provisioning_seq
       OR (ours OR own) AND site.provisioning_state NOT IN ('live', 'failed', 'suspended', 'terminated',
              'locked_pending_email_verification', 'locked_pending_registration')
          AND NOT (site.provisioning_state = 'ready' AND NOT site.provisioning_auto_go_live) THEN
        RETURN jsonb_build_object('at_rest', false, 'due', site.provisioning_due_at IS NOT NULL,
                                  'seq', site.provisioning_seq, 'state', site.provisioning_state);
    END IF;
    SELECT coalesce(array_agg(secret), '{}') INTO secrets
      FROM (SELECT DISTINCT btrim(secret) AS secret
              FROM unnest(array_cat(ARRAY(SELECT address FROM unnest(addresses) AS address WHERE address LIKE '%@%'),
                                    ARRAY[site.provisioning_request #>> '{owner,email}',
                                          site.provisioning_request #>> '{owner,name}'])) AS given (secret)) AS kept
     WHERE secret <> '';
    IF ours OR own THEN
        -- The row stays this service's own by its marker, and every signup for it is a conflict from now on.
        UPDATE pwb_websites AS w
           SET provisioning_request = CASE WHEN w.provisioning_request ? 'erased'
                                           THEN jsonb_build_object('erased', w.provisioning_request -> 'erased')
                                           ELSE jsonb_build_object('erased', to_char(now() AT TIME ZONE 'UTC',
                                                                                     'YYYY-MM-DD"T"HH24:MI:SS"Z"')) END,
               -- In the existing product's database, an address that its own code wrote is the product's.
               owner_email = CASE WHEN own OR lower(w.owner_email) = lower(w.provisioning_request #>> '{owner,email}')
                                  THEN NULL ELSE w.owner_email END,
               provisioning_error = provisioning_without_addresses(
                   provisioning_masked(w.provisioning_error, secrets)),
               provisioning_attempt_error = provisioning_without_addresses(
                   provisioning_masked(w.provisioning_attempt_error, secrets)),
               updated_at = now()
         WHERE w.id = erased_id;
        emptied := site.provisioning_request - 'erased' <> '{}';
    END IF;
    UPDATE provisioning_transitions AS t
       SET actor = after.actor, reason = after.reason, detail = after.detail
      FROM (SELECT old.seq,
                   provisioning_masked(regexp_replace(old.actor, 'claimed: [^,]*', 'claimed: erased', 'g'), secrets)
                       AS actor,
                   CASE WHEN old.reason IS NOT NULL THEN 'erased' END AS reason,
                   old.detail
                   || (SELECT coalesce(jsonb_object_agg(key, provisioning_without_addresses(
                                                                 provisioning_masked(pair.value, secrets))), '{}')
                         FROM jsonb_each_text(old.detail) AS pair
                        WHERE pair.key IN ('error', 'message') AND pair.value IS NOT NULL)
                   -- A name that its row has no more may have been taken away because it names somebody.
                   || CASE WHEN old.detail ->> 'subdomain' = site.subdomain THEN '{}'
                           ELSE (SELECT coalesce(jsonb_object_agg(key, NULL::text), '{}') FROM jsonb_object_keys(old.detail) AS key
                                  WHERE key IN ('subdomain', 'url')) END AS detail
              FROM provisioning_transitions AS old WHERE old.website_id = erased_id) AS after
     WHERE t.website_id = erased_id AND t.seq = after.seq
       AND (t.actor, t.reason, t.detail) IS DISTINCT FROM (after.actor, after.reason, after.detail);
    GET DIAGNOSTICS log_rows = ROW_COUNT;
    IF erased_id IS NULL THEN
        SELECT array_agg(i.action_id), array_agg(i.item) INTO item_actions, items
          FROM provisioning_action_items AS i, concat_ws(' ', i.detail, i.outcome) AS content
         WHERE i.message_id = ANY (letters)
            OR content LIKE '%@%' AND provisioning_masked(content, secrets) <> content;
        touched := ARRAY(
            SELECT a.id FROM provisioning_operator_actions AS a,
                   concat_ws(' ', a.target, a.reason, a.detail, a.outcome) AS content
             WHERE a.message_id = ANY (letters)
                OR content LIKE '%@%' AND a.verb <> 'erase' AND provisioning_masked(content, secrets) <> content);
    ELSE
        SELECT array_agg(about.action_id), array_agg(about.item) INTO item_actions, items
          FROM (SELECT i.action_id, i.item
                  FROM provisioning_action_items AS i JOIN provisioning_operator_actions AS a ON a.id = i.action_id
                 WHERE i.website_id = erased_id AND a.verb <> 'erase'
                 UNION
                SELECT i.action_id, i.item FROM provisioning_action_items AS i WHERE i.message_id = ANY (letters)) AS about;
        touched := ARRAY(
            SELECT a.id FROM provisioning_operator_actions AS a WHERE a.website_id = erased_id AND a.verb <> 'erase'
             UNION
            SELECT a.id FROM provisioning_operator_actions AS a WHERE a.message_id = ANY (letters));
    END IF;
    touched := touched || coalesce(item_actions, '{}');
    -- An outcome that is written meanwhile is not lost: the statement after this one sees it.
    PERFORM FROM provisioning_operator_actions AS a WHERE a.id = ANY (touched) ORDER BY a.id FOR NO KEY UPDATE;
    PERFORM FROM provisioning_action_items AS i JOIN unnest(item_actions, items) AS found (action_id, item)
              USING (action_id, item) ORDER BY i.action_id, i.item FOR NO KEY UPDATE OF i;
    -- What people did stays, and when, and who; why they did it, and what they saw, does not: neither in the action, be it
    -- about other websites, too, nor in its items about this one.
    WITH erased_items AS (
        UPDATE provisioning_action_items AS i
           SET detail = after.detail, outcome = after.outcome, message_id = after.message_id
          FROM (SELECT old.action_id, old.item, provisioning_erased_detail(old.detail, secrets) AS detail,
                       provisioning_without_addresses(provisioning_masked(old.outcome, secrets)) AS outcome,
                       provisioning_without_addresses(old.message_id) AS message_id
                  FROM provisioning_action_items AS old
                  JOIN unnest(item_actions, items) AS found (action_id, item) USING (action_id, item)) AS after
         WHERE i.action_id = after.action_id AND i.item = after.item
           AND (i.detail, i.outcome, i.message_id) IS DISTINCT FROM (after.detail, after.outcome, after.message_id)
        RETURNING i.action_id
    ), erased_actions AS (
        UPDATE provisioning_operator_actions AS a
           SET reason = after.reason, target = after.target, detail = after.detail, outcome = after.outcome,
               message_id = after.message_id
          FROM (SELECT old.id, CASE WHEN old.reason IS NOT NULL THEN 'erased' END AS reason,
                       provisioning_without_addresses(provisioning_masked(old.target, secrets)) AS target,
                       provisioning_erased_detail(old.detail, secrets) AS detail,
                       provisioning_without_addresses(provisioning_masked(old.outcome, secrets)) AS outcome,
                       provisioning_without_addresses(old.message_id) AS message_id
                  FROM provisioning_operator_actions AS old WHERE old.id = ANY (touched)) AS after
         WHERE a.id = after.id
           AND (a.reason, a.target, a.detail, a.outcome, a.message_id)
               IS DISTINCT FROM (after.reason, after.target, after.detail, after.outcome, after.message_id)
        RETURNING a.id
    )
    SELECT count(*) INTO actions FROM (SELECT action_id FROM erased_items UNION SELECT id FROM erased_actions) AS erased;
    RETURN jsonb_build_object(
        'at_rest', true, 'seq', site.provisioning_seq, 'state', site.provisioning_state,
        'request', coalesce(emptied, false),
        'owner_email', site.owner_email IS NOT NULL AND NOT EXISTS (
            SELECT FROM pwb_websites AS w WHERE w.id = erased_id AND w.owner_email IS NOT NULL),
        'owner_email_stays', EXISTS (
            SELECT FROM pwb_websites AS w WHERE w.id = erased_id AND w.owner_email IS NOT NULL),
        'log_rows', log_rows, 'actions', actions);
END
$$;

-- Prunes the log of the next websites after an id: of those that are at rest, owe nothing and are nobody's at the moment,
-- and of those that are not there any more. Rows older than so many seconds go, from the first to the one before a row
-- that stays; the last always stays. Returns the last id looked at, null at the end of the log; with `dry`, it counts only.
CREATE OR REPLACE FUNCTION provisioning_prune(
    after bigint, older_seconds double precision, batch integer, dry boolean,
    OUT last_id bigint, OUT websites bigint, OUT log_rows bigint
) LANGUAGE plpgsql AS $$
DECLARE
    looked bigint[];
    resting bigint[];
BEGIN
    -- However young the rows are that somebody asks for: figures and checks look a day back.
    older_seconds := greatest(older_seconds, 86400);
    WITH RECURSIVE ids (id) AS (
        (SELECT t.website_id FROM provisioning_transitions AS t WHERE t.website_id > after ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT t.website_id FROM provisioning_transitions AS t WHERE t.website_id > ids.id ORDER BY 1 LIMIT 1)
          FROM ids WHERE ids.id IS NOT NULL
    )
    SELECT array_agg(id), max(id) INTO looked, last_id
      FROM (SELECT id FROM ids WHERE id IS NOT NULL LIMIT batch) AS first;
    SELECT coalesce(array_agg(id), '{}') INTO resting
      FROM (SELECT w.id FROM pwb_websites AS w
             WHERE w.id = ANY (looked) AND w.provisioning_due_at IS NULL AND w.provisioning_attempts = 0
               AND w.provisioning_published_seq = w.provisioning_seq
               AND NOT (w.provisioning_state NOT IN ('live', 'failed', 'suspended', 'terminated',
                            'locked_pending_email_verification', 'locked_pending_registration')
                        AND NOT (w.provisioning_state = 'ready' AND NOT w.provisioning_auto_go_live))
             ORDER BY w.id
               FOR NO KEY UPDATE SKIP LOCKED) AS locked;
    resting := resting || ARRAY(SELECT gone.id FROM unnest(looked) AS gone (id)
                                 WHERE NOT EXISTS (SELECT FROM pwb_websites AS w WHERE w.id = gone.id));
    IF dry THEN
        SELECT count(*) FILTER (WHERE cut.gone > 0), coalesce(sum(cut.gone), 0) INTO websites, log_rows
          FROM (SELECT count(*) FILTER (WHERE seq < cut_off) AS gone
                  FROM (SELECT t.website_id, t.seq,
                               least(max(t.seq) OVER (PARTITION BY t.website_id),
                                     min(t.seq) FILTER (WHERE t.occurred_at > now() - older_seconds * interval '1 second')
                                         OVER (PARTITION BY t.website_id)) AS cut_off
                          FROM provisioning_transitions AS t WHERE t.website_id = ANY (resting)) AS seen
                 GROUP BY website_id) AS cut;
        RETURN;
    END IF;
    WITH cut AS (
        SELECT t.website_id,
               least(max(t.seq), min(t.seq) FILTER (WHERE t.occurred_at > now() - older_seconds * interval '1 second'))
                   AS seq
          FROM provisioning_transitions AS t WHERE t.website_id = ANY (resting) GROUP BY 1
    ), gone AS (
        DELETE FROM provisioning_transitions AS t USING cut
         WHERE t.website_id = cut.website_id AND t.seq < cut.seq
        RETURNING t.website_id, t.seq, t.to_state, t.occurred_at, t.message_id
    ), kept AS (
        INSERT INTO provisioning_pruned AS p (website_id, through_seq, to_state, last_at, message_ids)
        SELECT website_id, max(seq), (array_agg(to_state ORDER BY seq DESC))[1], max(occurred_at),
               array_agg(message_id ORDER BY seq)
          FROM gone GROUP BY website_id
        ON CONFLICT (website_id) DO UPDATE
           SET through_seq = excluded.through_seq, to_state = excluded.to_state, last_at = excluded.last_at,
               message_ids = p.message_ids || excluded.message_ids, pruned_at = now()
    )
    SELECT count(DISTINCT website_id), count(*) INTO websites, log_rows FROM gone;
END
$$;
DO $$
DECLARE
    name text;
BEGIN
    -- They delete and mask, and write nothing of the caller's own: who may call them needs no right to change a log row.
    FOREACH name IN ARRAY ARRAY['provisioning_erase(bigint, text[], text[])',
                                'provisioning_prune(bigint, double precision, integer, boolean)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET timezone = ''UTC'' SET search_path = ', name)
                || (SELECT string_agg(quote_ident(folder), ', ') FROM unnest(current_schemas(false)) AS path (folder))
                || ', pg_temp';
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END
$$;
