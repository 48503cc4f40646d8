-- The whole schema of the provisioner. Applying it twice changes nothing; applying it to the database of the
-- existing product adds what is ours and keeps what is there. Tables with the prefix pwb_ are that product's: only
-- the columns that this service reads or writes are named here. Tables with the prefix provisioning_ are ours.

-- Websites: one row a tenant. Its provisioning_* columns are the truth that every message only reminds of.
CREATE TABLE IF NOT EXISTS pwb_websites (
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
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_websites_on_subdomain ON pwb_websites (subdomain);
CREATE INDEX IF NOT EXISTS index_pwb_websites_on_provisioning_state ON pwb_websites (provisioning_state);

-- The existing product lets a website be born live. Here it is born pending, and waits for its website.created.
ALTER TABLE pwb_websites ALTER COLUMN provisioning_state SET DEFAULT 'pending';
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS site_type varchar;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS seed_pack_name varchar;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS owner_email varchar;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS skip_properties boolean NOT NULL DEFAULT false;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS auto_go_live boolean NOT NULL DEFAULT true;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_failed_from varchar;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_seq integer NOT NULL DEFAULT 0;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_published_seq integer NOT NULL DEFAULT 0;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_attempts integer NOT NULL DEFAULT 0;
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_request jsonb;
-- The text of the last failed attempt, so that a website that waits for its next one can say why.
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_attempt_error text;
-- Added bare, its default set after: a default would wake every website that is already there.
ALTER TABLE pwb_websites ADD COLUMN IF NOT EXISTS provisioning_due_at timestamptz;
ALTER TABLE pwb_websites ALTER COLUMN provisioning_due_at SET DEFAULT now() + interval '10 minutes';
CREATE INDEX IF NOT EXISTS index_pwb_websites_on_provisioning_due_at
    ON pwb_websites (provisioning_due_at) WHERE provisioning_due_at IS NOT NULL;

-- Users: people who sign in. One row an e-mail address, whatever the number of their websites.
CREATE TABLE IF NOT EXISTS pwb_users (
    id bigserial PRIMARY KEY,
    email varchar NOT NULL DEFAULT '',
    first_names varchar,
    last_names varchar,
    website_id bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_users_on_email ON pwb_users (email);

-- Memberships: who may do what on which website; an active one with the role owner makes a website owned.
CREATE TABLE IF NOT EXISTS pwb_user_memberships (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES pwb_users (id) ON DELETE CASCADE,
    website_id bigint NOT NULL REFERENCES pwb_websites (id) ON DELETE CASCADE,
    role varchar NOT NULL DEFAULT 'member',
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_user_memberships_on_user_id_and_website_id
    ON pwb_user_memberships (user_id, website_id);
CREATE INDEX IF NOT EXISTS index_pwb_user_memberships_on_website_id ON pwb_user_memberships (website_id);

-- Agencies: the estate agency that a website presents, one a website.
CREATE TABLE IF NOT EXISTS pwb_agencies (
    id bigserial PRIMARY KEY,
    website_id bigint,
    display_name varchar,
    email_primary varchar,
    phone_number_primary varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Links: navigation entries; placement is 0 top navigation, 1 footer, 2 social media, 3 admin.
CREATE TABLE IF NOT EXISTS pwb_links (
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
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug);

-- Field keys: the words a website may describe a property with, by tag (property-types, property-states, …).
CREATE TABLE IF NOT EXISTS pwb_field_keys (
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
CREATE UNIQUE INDEX IF NOT EXISTS index_field_keys_unique_per_website
    ON pwb_field_keys (pwb_website_id, global_key);

-- Realty assets: the properties themselves, apart from what they are offered for.
CREATE TABLE IF NOT EXISTS pwb_realty_assets (
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
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_realty_assets_on_slug ON pwb_realty_assets (slug);

-- Sale listings: an asset offered for sale, in cents; one active listing an asset.
CREATE TABLE IF NOT EXISTS pwb_sale_listings (
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
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_sale_listings_unique_active
    ON pwb_sale_listings (realty_asset_id, active) WHERE active;

-- Rental listings: an asset offered for rent, in cents a month; one active listing an asset.
CREATE TABLE IF NOT EXISTS pwb_rental_listings (
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
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_rental_listings_unique_active
    ON pwb_rental_listings (realty_asset_id, active) WHERE active;

-- Two uniqueness rules that the existing product lacks, and every idempotent seeder stands on. Doubles that are
-- already there must be merged by a person, so they are named instead of a bare index error.
DO $$
DECLARE
    doubles text;
BEGIN
    SELECT string_agg(website_id::text, ', ') INTO doubles
      FROM (SELECT website_id FROM pwb_agencies WHERE website_id IS NOT NULL GROUP BY website_id HAVING count(*) > 1 ORDER BY 1 LIMIT 10) AS d;
    IF doubles IS NOT NULL THEN
        RAISE EXCEPTION 'pwb_agencies has more than one agency for websites %', doubles
              USING HINT = 'Keep one agency for each of them, then apply the schema again.';
    END IF;
    SELECT string_agg(format('%s/%s', website_id, reference), ', ') INTO doubles
      FROM (SELECT website_id, reference FROM pwb_realty_assets WHERE reference IS NOT NULL
             GROUP BY website_id, reference HAVING count(*) > 1 ORDER BY 1, 2 LIMIT 10) AS d;
    IF doubles IS NOT NULL THEN
        RAISE EXCEPTION 'pwb_realty_assets has doubled references (website/reference): %', doubles
              USING HINT = 'Keep one asset for each of them, then apply the schema again.';
    END IF;
END
$$;
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_agencies_unique_website_id ON pwb_agencies (website_id);
CREATE UNIQUE INDEX IF NOT EXISTS index_pwb_realty_assets_unique_website_id_and_reference
    ON pwb_realty_assets (website_id, reference);

-- Transitions: every transition ever taken, one row each. At once audit trail, inbox (website_id, message_id) and
-- outbox: what a transition publishes is a function of its row. No foreign key: deleting a website must not fail.
CREATE TABLE IF NOT EXISTS provisioning_transitions (
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
-- For how much was done lately: it stays small, as rows come in order of time (24 kB at a million of them).
CREATE INDEX IF NOT EXISTS index_provisioning_transitions_on_occurred_at
    ON provisioning_transitions USING brin (occurred_at) WITH (autosummarize = on);

-- Operator actions: what people did that is no transition (pause, redrive, edit, discard), one row each, written before
-- it takes effect; `outcome` is null until it is known, and stays null where the tool died.
CREATE TABLE IF NOT EXISTS provisioning_operator_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text NOT NULL,
    verb text NOT NULL,
    reason text,
    message_id text,
    website_id bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    outcome text,
    occurred_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS index_provisioning_operator_actions_on_website_id
    ON provisioning_operator_actions (website_id) WHERE website_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS index_provisioning_operator_actions_on_message_id
    ON provisioning_operator_actions (message_id) WHERE message_id IS NOT NULL;

-- Workers: one row a worker process, written by itself every few seconds, so that people see who runs. `paused` is its
-- answer: it takes nothing, and has nothing in its hands. A row that nobody writes any more is deleted by the others.
CREATE TABLE IF NOT EXISTS provisioning_workers (
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

-- Pauses: what people want, one row for `all` workers, those that start later among them, or for one worker's id.
CREATE TABLE IF NOT EXISTS provisioning_pauses (
    worker text PRIMARY KEY,
    actor text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);

-- States: unknown ones are refused, and failed goes with its error and its time. NOT VALID first, so that rows of
-- the existing product which break a rule do not stop the rest; they are reported instead.
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('provisioning_state_known',
         $check$provisioning_state IN ('pending', 'owner_assigned', 'agency_created', 'links_created',
                'field_keys_created', 'properties_seeded', 'ready', 'live', 'failed', 'suspended', 'terminated')
                -- The existing product's own: what is there stays writable, the triggers let no website in.
                OR provisioning_state IN ('locked_pending_email_verification',
                                          'locked_pending_registration')$check$),
        ('provisioning_failed_has_error',
         $check$CASE WHEN provisioning_state = 'failed'
                     THEN provisioning_error IS NOT NULL AND provisioning_failed_at IS NOT NULL
                     ELSE provisioning_error IS NULL AND provisioning_failed_at IS NULL END$check$),
        ('provisioning_counters_sane',
         $check$provisioning_attempts >= 0 AND provisioning_seq >= provisioning_published_seq
                AND provisioning_published_seq >= 0$check$)
        ) AS rules (name, body)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_constraint
                        WHERE conname = rule.name AND conrelid = 'pwb_websites'::regclass) THEN
            EXECUTE format('ALTER TABLE pwb_websites ADD CONSTRAINT %I CHECK (%s) NOT VALID', rule.name, rule.body);
            BEGIN
                EXECUTE format('ALTER TABLE pwb_websites VALIDATE CONSTRAINT %I', rule.name);
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'pwb_websites has rows that break %: they stay, and cannot be written until they comply',
                      rule.name;
            END;
        END IF;
    END LOOP;
END
$$;

-- The last line of defence: whatever writes to the table, a website is born pending and only moves along an edge of
-- the machine. The list is compared with statemachine.TRANSITIONS by a test.
CREATE OR REPLACE FUNCTION provisioning_refuse_illegal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'website % cannot be born %: a website starts as pending', NEW.id, NEW.provisioning_state
              USING ERRCODE = 'check_violation', HINT = 'Insert it as pending, then publish website.created.';
    END IF;
    IF OLD.provisioning_state || ' -> ' || NEW.provisioning_state <> ALL (ARRAY[
        'pending -> owner_assigned',
        'owner_assigned -> agency_created',
        'agency_created -> links_created',
        'links_created -> field_keys_created',
        'field_keys_created -> properties_seeded',
        'properties_seeded -> ready',
        'ready -> live',
        'pending -> failed',
        'owner_assigned -> failed',
        'agency_created -> failed',
        'links_created -> failed',
        'field_keys_created -> failed',
        'properties_seeded -> failed',
        'ready -> failed',
        'failed -> pending',
        'failed -> owner_assigned',
        'failed -> agency_created',
        'failed -> links_created',
        'failed -> field_keys_created',
        'failed -> properties_seeded',
        'failed -> ready',
        'ready -> suspended',
        'live -> suspended',
        'suspended -> live',
        'suspended -> terminated',
        'failed -> terminated'
    ]) THEN
        RAISE EXCEPTION 'website % cannot go from % to %', NEW.id, OLD.provisioning_state, NEW.provisioning_state
              USING ERRCODE = 'check_violation', HINT = 'docs/states.md has the legal transitions.';
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER provisioning_born_pending BEFORE INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.provisioning_state <> 'pending')
    EXECUTE FUNCTION provisioning_refuse_illegal_change();

-- A website that is deleted and inserted again under its id goes on where its log ends: a seq is never used twice.
CREATE OR REPLACE FUNCTION provisioning_continue_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT greatest(NEW.provisioning_seq, max(seq)), greatest(NEW.provisioning_published_seq, max(seq))
      INTO NEW.provisioning_seq, NEW.provisioning_published_seq
      FROM provisioning_transitions WHERE website_id = NEW.id;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER provisioning_continues_log BEFORE INSERT ON pwb_websites
    FOR EACH ROW EXECUTE FUNCTION provisioning_continue_log();
CREATE OR REPLACE TRIGGER provisioning_moves_along_edges BEFORE UPDATE OF provisioning_state ON pwb_websites
    FOR EACH ROW WHEN (OLD.provisioning_state IS DISTINCT FROM NEW.provisioning_state
                       -- Websites that the existing product has locked leave that state as it sees fit.
                       AND NOT starts_with(OLD.provisioning_state, 'locked_pending_'))
    EXECUTE FUNCTION provisioning_refuse_illegal_change();
