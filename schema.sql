-- The whole schema of the provisioner, for people: what the migrations in consumer/store/migrations make of an empty
-- database; a test compares. `provisioner init` runs those, not this file. Tables with the prefix pwb_ are the existing
-- product's: only the columns that this service reads or writes are named here, and in that product's database only
-- what is missing is added, with the rules of rules_guest.sql. Tables with the prefix provisioning_ are this service's
-- own.

-- Websites: one row a tenant. The provisioning_* columns hold its state, which no message overrides.
CREATE TABLE pwb_websites (
    id bigserial PRIMARY KEY,
    subdomain varchar,
    site_type varchar,
    seed_pack_name varchar,
    owner_email varchar,
    provisioning_state varchar NOT NULL DEFAULT 'pending',
    provisioning_started_at timestamptz,
    provisioning_completed_at timestamptz,
    provisioning_failed_at timestamptz,
    provisioning_error text,
    provisioning_skip_properties boolean NOT NULL DEFAULT false,
    provisioning_auto_go_live boolean NOT NULL DEFAULT true,
    -- The state that it failed from: a retry never leads beyond it.
    provisioning_failed_from varchar,
    -- The number of its transitions, and up to which of them the broker has confirmed the events.
    provisioning_seq integer NOT NULL DEFAULT 0,
    provisioning_published_seq integer NOT NULL DEFAULT 0,
    -- Failed attempts at the present step, and the error of the last one.
    provisioning_attempts integer NOT NULL DEFAULT 0,
    provisioning_attempt_error text,
    -- The owner and the options of its website.created.
    provisioning_request jsonb,
    -- When the dispatcher looks after it next; null: never. The default is for a website.created that never comes.
    provisioning_due_at timestamptz DEFAULT now() + interval '10 minutes',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_websites_on_lower_subdomain ON pwb_websites (lower(subdomain));
CREATE INDEX index_pwb_websites_on_provisioning_state ON pwb_websites (provisioning_state);
CREATE INDEX index_pwb_websites_on_provisioning_due_at
    ON pwb_websites (provisioning_due_at) WHERE provisioning_due_at IS NOT NULL;

-- Users: people who sign in. One row an e-mail address, whatever the number of their websites.
CREATE TABLE pwb_users (
    id bigserial PRIMARY KEY,
    email varchar NOT NULL DEFAULT '',
    first_names varchar,
    last_names varchar,
    website_id bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_users_on_lower_email ON pwb_users (lower(email));

-- Memberships: which user has which role on which website; an active one with the role owner makes a website owned.
CREATE TABLE pwb_user_memberships (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES pwb_users (id) ON DELETE CASCADE,
    website_id bigint NOT NULL REFERENCES pwb_websites (id) ON DELETE CASCADE,
    role varchar NOT NULL DEFAULT 'member',
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_user_memberships_on_user_id_and_website_id
    ON pwb_user_memberships (user_id, website_id);
CREATE INDEX index_pwb_user_memberships_on_website_id ON pwb_user_memberships (website_id);

-- Agencies: the estate agency that a website presents, one a website.
CREATE TABLE pwb_agencies (
    id bigserial PRIMARY KEY,
    website_id bigint,
    display_name varchar,
    email_primary varchar,
    phone_number_primary varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_agencies_unique_website_id ON pwb_agencies (website_id);

-- Links: navigation entries; placement is 0 top navigation, 1 footer, 2 social media, 3 admin.
CREATE TABLE pwb_links (
    id bigserial PRIMARY KEY,
    website_id bigint,
    slug varchar,
    page_slug varchar,
    link_path varchar,
    link_path_params varchar,
    link_url varchar,
    placement integer DEFAULT 0,
    sort_order integer DEFAULT 0,
    visible boolean DEFAULT true,
    translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug);

-- Field keys: the terms with which a website may describe a property, by tag (property-types, property-states, …).
CREATE TABLE pwb_field_keys (
    id bigserial PRIMARY KEY,
    global_key varchar,
    tag varchar,
    pwb_website_id bigint REFERENCES pwb_websites (id) ON DELETE CASCADE,
    visible boolean DEFAULT true,
    sort_order integer DEFAULT 0,
    translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_field_keys_unique_per_website
    ON pwb_field_keys (pwb_website_id, global_key);

-- Realty assets: properties, apart from what they are offered for.
CREATE TABLE pwb_realty_assets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    website_id bigint,
    reference varchar,
    slug varchar,
    prop_type_key varchar,
    prop_state_key varchar,
    street_address varchar,
    city varchar,
    region varchar,
    country varchar,
    postal_code varchar,
    latitude double precision,
    longitude double precision,
    count_bedrooms integer DEFAULT 0,
    count_bathrooms double precision DEFAULT 0,
    count_garages integer DEFAULT 0,
    constructed_area double precision DEFAULT 0,
    plot_area double precision DEFAULT 0,
    year_construction integer DEFAULT 0,
    translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_realty_assets_on_slug ON pwb_realty_assets (slug);
CREATE UNIQUE INDEX index_pwb_realty_assets_unique_website_id_and_reference
    ON pwb_realty_assets (website_id, reference);

-- Sale listings: an asset offered for sale, in cents; one active listing an asset.
CREATE TABLE pwb_sale_listings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    realty_asset_id uuid NOT NULL REFERENCES pwb_realty_assets (id) ON DELETE CASCADE,
    active boolean NOT NULL DEFAULT false,
    visible boolean DEFAULT false,
    highlighted boolean DEFAULT false,
    price_sale_current_cents bigint DEFAULT 0,
    price_sale_current_currency varchar DEFAULT 'EUR',
    translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_sale_listings_unique_active
    ON pwb_sale_listings (realty_asset_id, active) WHERE active;

-- Rental listings: an asset offered for rent, in cents a month; one active listing an asset.
CREATE TABLE pwb_rental_listings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    realty_asset_id uuid NOT NULL REFERENCES pwb_realty_assets (id) ON DELETE CASCADE,
    active boolean NOT NULL DEFAULT false,
    visible boolean DEFAULT false,
    highlighted boolean DEFAULT false,
    for_rent_long_term boolean DEFAULT false,
    for_rent_short_term boolean DEFAULT false,
    furnished boolean DEFAULT false,
    price_rental_monthly_current_cents bigint DEFAULT 0,
    price_rental_monthly_current_currency varchar DEFAULT 'EUR',
    translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX index_pwb_rental_listings_unique_active
    ON pwb_rental_listings (realty_asset_id, active) WHERE active;

-- Transitions: every transition ever taken, one row each. It is audit trail, inbox (website_id, message_id) and outbox
-- at once: what a transition publishes is a function of its row. No foreign key: deleting a website must not fail.
CREATE TABLE provisioning_transitions (
    website_id bigint NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    trigger text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    message_id uuid NOT NULL,
    actor text,
    reason text,
    detail jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (website_id, seq),
    CONSTRAINT provisioning_transitions_message_once UNIQUE (website_id, message_id)
);
-- Finds the transitions of the last minutes. It stays small, as rows come in order of time (24 kB for a million).
CREATE INDEX index_provisioning_transitions_on_occurred_at
    ON provisioning_transitions USING brin (occurred_at) WITH (autosummarize = on);
-- Finds the websites that went on although their seed pack did not suffice; rows with a fallback alone are in it.
CREATE INDEX index_provisioning_transitions_on_fallback
    ON provisioning_transitions (occurred_at, website_id)
 WHERE detail ? 'fallback' AND to_state <> 'failed';

-- Operator actions: what people did, one row an action, written before it takes effect. `person` is who they are by
-- `proof`, whatever name `actor` says; `target` is what it was about, in words. `outcome` is null until it is known, and
-- stays null where the tool died; `result` is success, partly or failure. Rows of before version 0.2.0 have no person and
-- no result, and name the message and the website themselves.
CREATE TABLE provisioning_operator_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text NOT NULL,
    verb text NOT NULL,
    reason text,
    message_id text,
    website_id bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    outcome text,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    person text,
    proof text,
    target text,
    result text,
    settled_at timestamptz
);
CREATE INDEX index_provisioning_operator_actions_on_website_id
    ON provisioning_operator_actions (website_id) WHERE website_id IS NOT NULL;
CREATE INDEX index_provisioning_operator_actions_on_message_id
    ON provisioning_operator_actions (message_id) WHERE message_id IS NOT NULL;

-- Action items: what each action did to each website, dead letter or worker, numbered from 1, written before it takes
-- effect and settled after.
CREATE TABLE provisioning_action_items (
    action_id bigint NOT NULL REFERENCES provisioning_operator_actions (id) ON DELETE CASCADE,
    item integer NOT NULL,
    website_id bigint,
    message_id text,
    detail jsonb NOT NULL DEFAULT '{}',
    outcome text,
    PRIMARY KEY (action_id, item)
);
CREATE INDEX index_provisioning_action_items_on_website_id
    ON provisioning_action_items (website_id) WHERE website_id IS NOT NULL;
CREATE INDEX index_provisioning_action_items_on_message_id
    ON provisioning_action_items (message_id) WHERE message_id IS NOT NULL;

-- Workers: one row a worker process, written by itself every few seconds, so that people see which run. `paused` says
-- that it takes no deliveries and has none in flight. A row that is no longer written is deleted by the other workers.
CREATE TABLE provisioning_workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    in_flight integer NOT NULL DEFAULT 0,
    paused boolean NOT NULL DEFAULT false,
    last_delivery_at timestamptz
);

-- Pauses: orders of people that workers pause, one row for `all` of them, those that start later too, or for one
-- worker's id.
CREATE TABLE provisioning_pauses (
    worker text PRIMARY KEY,
    actor text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);

-- Refreshes: when a materialized view of the existing product was last refreshed for what this service has seeded, one row
-- a view. What was committed before `began_at` is in it.
CREATE TABLE provisioning_refreshes (
    view text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL
);

-- Sessions: browsers that have signed in at the console, one row each, by the SHA-256 of the id in their cookie. Signing
-- out deletes the row, and each sign-in deletes those that have expired. `owner` is `operator:ana`: role and name.
CREATE TABLE provisioning_sessions (
    id_hash bytea PRIMARY KEY,
    owner text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- Pruned: what is kept of histories whose rows up to `through_seq` were deleted, one row a website: the state to which the
-- last of them led, and when, and the ids of all their messages, so that a late copy is still known as carried out.
CREATE TABLE provisioning_pruned (
    website_id bigint PRIMARY KEY,
    through_seq integer NOT NULL CHECK (through_seq > 0),
    to_state text NOT NULL,
    last_at timestamptz NOT NULL,
    message_ids uuid[] NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT now()
);

-- Dead letters: what lists, totals, groups and filters need of those in the queue, one row each, without their bodies.
-- `digest` is that of the message (properties, headers, body; of equal ones the first, the second, …), `place` the order
-- in which they were read. A text that this database cannot hold has U+FFFD in its column; `exact` has the row as JSON then.
CREATE TABLE provisioning_dead_letters (
    queue text NOT NULL,
    digest bytea NOT NULL,
    place bigint NOT NULL,
    message_id text,
    type text,
    website_id bigint,
    reason text NOT NULL,
    error text,
    source_queue text,
    failed_at timestamptz,
    bytes bigint NOT NULL,
    exact text,
    PRIMARY KEY (queue, digest)
);

-- Readings: when a queue of dead letters was last read into the table above, by whom, how many it had, and how many more
-- than one reading takes. `outdated`: somebody has acted on dead letters since.
CREATE TABLE provisioning_dead_letter_readings (
    queue text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    read_by text NOT NULL,
    letters integer NOT NULL,
    beyond_limit bigint NOT NULL,
    outdated boolean NOT NULL
);

-- Rejections: signups that can never be begun, by the id of their message, with the website that they name (which may be
-- somebody else's) and why, as a code. Progress answers from them for 30 days; each that is written deletes older ones.
CREATE TABLE provisioning_rejections (
    message_id uuid PRIMARY KEY,
    website_id bigint NOT NULL,
    code text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX index_provisioning_rejections_on_website_id
    ON provisioning_rejections (website_id, rejected_at DESC);
CREATE INDEX index_provisioning_rejections_on_rejected_at ON provisioning_rejections (rejected_at);

-- Migrations: which files of consumer/store/migrations were applied, one row each, when last, and with which text.
CREATE TABLE provisioning_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Generated from statemachine and three of the migrations by `make docs`: digest 0507d2356680.

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
         $check$provisioning_state IN (
            'agency_created',
            'failed',
            'field_keys_created',
            'links_created',
            'live',
            'owner_assigned',
            'pending',
            'properties_seeded',
            'ready',
            'suspended',
            'terminated'
        )
            -- The existing product's own: what is there stays writable, the triggers let no website in.
            OR provisioning_state IN ('locked_pending_email_verification', 'locked_pending_registration')$check$),
        ('provisioning_failed_has_error',
         $check$CASE WHEN provisioning_state = 'failed'
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
    IF OLD.provisioning_state || ' -> ' || NEW.provisioning_state <> ALL (ARRAY[
        -- Generated from statemachine: 11 states and 26 edges, digest 0507d2356680.
        'agency_created -> failed',
        'agency_created -> links_created',
        'failed -> agency_created',
        'failed -> field_keys_created',
        'failed -> links_created',
        'failed -> owner_assigned',
        'failed -> pending',
        'failed -> properties_seeded',
        'failed -> ready',
        'failed -> terminated',
        'field_keys_created -> failed',
        'field_keys_created -> properties_seeded',
        'links_created -> failed',
        'links_created -> field_keys_created',
        'live -> suspended',
        'owner_assigned -> agency_created',
        'owner_assigned -> failed',
        'pending -> failed',
        'pending -> owner_assigned',
        'properties_seeded -> failed',
        'properties_seeded -> ready',
        'ready -> failed',
        'ready -> live',
        'ready -> suspended',
        'suspended -> live',
        'suspended -> terminated'
    ]) THEN
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

-- In a database of this service's own: a website is born pending, moves along edges alone, and looks after itself where
-- its website.created does not come.
DROP TRIGGER IF EXISTS provisioning_fills_failure ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_guards_own_rows ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_logs_product_moves ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_postpones_rescue ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_sets_rescue ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_checks_pool ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_checks_pool_later ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_marks_pool ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_marks_pool_later ON pwb_websites;
DROP FUNCTION IF EXISTS provisioning_fill_failure, provisioning_log_product_move, provisioning_postpone_rescue,
                        provisioning_check_pool, provisioning_mark_pool,
                         provisioning_refresh_properties;

-- Not with the column: a default that comes with it would make every website due that is already there.
ALTER TABLE pwb_websites
    ALTER COLUMN provisioning_state SET DEFAULT 'pending',
    ALTER COLUMN provisioning_due_at SET DEFAULT now() + interval '10 minutes';

CREATE OR REPLACE TRIGGER provisioning_born_pending BEFORE INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.provisioning_state <> 'pending')
    EXECUTE FUNCTION provisioning_refuse_illegal_change();
CREATE OR REPLACE TRIGGER provisioning_moves_along_edges BEFORE UPDATE OF provisioning_state ON pwb_websites
    FOR EACH ROW WHEN (OLD.provisioning_state IS DISTINCT FROM NEW.provisioning_state
                       -- Websites that the existing product has locked leave that state as it sees fit.
                       AND NOT starts_with(OLD.provisioning_state, 'locked_pending_'))
    EXECUTE FUNCTION provisioning_refuse_illegal_change();

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

-- End of what is generated.
