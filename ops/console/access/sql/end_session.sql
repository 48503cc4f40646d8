-- Ends a session.
DELETE FROM provisioning_sessions WHERE id_hash = $1;
