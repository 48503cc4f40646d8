-- Starts a session; deletes all that have expired, and the oldest of a person who has more than may be. Rows that another
-- sign-in is deleting are left to it.
WITH expired AS (
    DELETE FROM provisioning_sessions
     WHERE id_hash IN (SELECT id_hash FROM provisioning_sessions
                        WHERE expires_at <= now() FOR UPDATE SKIP LOCKED)
), superfluous AS (
    DELETE FROM provisioning_sessions
     WHERE id_hash IN (SELECT id_hash FROM provisioning_sessions
                        WHERE owner = $2 AND expires_at > now()
                        ORDER BY started_at DESC OFFSET $4 FOR UPDATE SKIP LOCKED)
)
INSERT INTO provisioning_sessions (id_hash, owner, expires_at)
VALUES ($1, $2, now() + $3::float8 * interval '1 second');
