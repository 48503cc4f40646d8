-- The columns of this service in pwb_websites. No row is rewritten: the lock is held for milliseconds.

ALTER TABLE pwb_websites
    ADD COLUMN IF NOT EXISTS site_type varchar,
    ADD COLUMN IF NOT EXISTS seed_pack_name varchar,
    ADD COLUMN IF NOT EXISTS owner_email varchar,
    ADD COLUMN IF NOT EXISTS provisioning_skip_properties boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS provisioning_auto_go_live boolean NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS provisioning_failed_from varchar,
    ADD COLUMN IF NOT EXISTS provisioning_seq integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS provisioning_published_seq integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS provisioning_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS provisioning_request jsonb,
    ADD COLUMN IF NOT EXISTS provisioning_attempt_error text,
    ADD COLUMN IF NOT EXISTS provisioning_due_at timestamptz;
