-- Finds a session that has neither expired nor ended.
SELECT true FROM provisioning_sessions WHERE id_hash = $1 AND owner = $2 AND expires_at > now();
