-- The migrations that were applied, with the digest of the text that was.
SELECT name, digest FROM provisioning_migrations
