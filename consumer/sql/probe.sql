-- Whether the database takes our writes: tables and columns that are there, privileges, no standby, not read-only. It
-- changes nothing; but that it is given a transaction id, it could have.
WITH website AS (
    UPDATE pwb_websites SET provisioning_due_at = NULL, provisioning_attempt_error = NULL WHERE false RETURNING id
), logged AS (
    INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, detail)
    SELECT id, 1, '', '', '', gen_random_uuid(), '{}' FROM website
    RETURNING seq
)
SELECT pg_current_xact_id() FROM logged RIGHT JOIN (VALUES (1)) AS one (seq) USING (seq)
