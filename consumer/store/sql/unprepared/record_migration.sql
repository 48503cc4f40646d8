-- Records that a migration was applied: its name, and the digest of its text.
INSERT INTO provisioning_migrations (name, digest) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET digest = EXCLUDED.digest, applied_at = now()
