-- The tables of version 0.1.0, without their indexes. In the existing product's database the tables pwb_* are there, and
-- stay as they are. schema.sql describes each table.

CREATE TABLE IF NOT EXISTS provisioning_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

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

CREATE TABLE IF NOT EXISTS pwb_users (
    id bigserial PRIMARY KEY,
    email varchar NOT NULL DEFAULT '',
    first_names varchar,
    last_names varchar,
    website_id bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS pwb_user_memberships (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES pwb_users (id) ON DELETE CASCADE,
    website_id bigint NOT NULL REFERENCES pwb_websites (id) ON DELETE CASCADE,
    role varchar NOT NULL DEFAULT 'member',
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS pwb_agencies (
    id bigserial PRIMARY KEY,
    website_id bigint,
    display_name varchar,
    email_primary varchar,
    phone_number_primary varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

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

CREATE TABLE IF NOT EXISTS provisioning_pauses (
    worker text PRIMARY KEY,
    actor text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
