-- Tests that the database takes our writes: tables and columns that are there, privileges, no standby, not read-only.
-- It changes no row. That it takes a transaction id shows that the server accepts writes.
WITH website AS (
    UPDATE pwb_websites SET provisioning_due_at = NULL, provisioning_attempt_error = NULL WHERE false RETURNING id
), logged AS (
    INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, detail)
    SELECT id, 1, '', '', '', gen_random_uuid(), '{}' FROM website
    RETURNING seq
), rejected AS (
    INSERT INTO provisioning_rejections (message_id, website_id, code)
    SELECT gen_random_uuid(), id, '' FROM website
)
SELECT pg_current_xact_id() FROM logged RIGHT JOIN (VALUES (1)) AS one (seq) USING (seq)
