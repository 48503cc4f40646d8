-- In batches: what the product did to this service's own websites while the triggers were away. Each that it moved is
-- logged by them now, as one transition from where its log ends; each that it failed or took up again, in whatever order,
-- has error and time, or neither. rules_guest.sql takes this file out of provisioning_migrations whenever it makes them.
--
-- One that is pending, and whose log ends elsewhere, was deleted and inserted again, unless it had failed and is as old as
-- that. Rows in a state that nobody knows are left to people: the checks refuse them.
DO $do$
DECLARE
    ids bigint[];
    known text := (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
                    WHERE conname = 'provisioning_state_known' AND conrelid = 'pwb_websites'::regclass);
    complies text := (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
                       WHERE conname = 'provisioning_failed_has_error' AND conrelid = 'pwb_websites'::regclass);
    missed int := 0;
BEGIN
    FOR ids IN EXECUTE format($$
        SELECT array_agg(id)
          FROM (SELECT w.id, (row_number() OVER (ORDER BY w.id) - 1) / {batch} AS batch
                  FROM pwb_websites AS w
                  JOIN provisioning_transitions AS last ON last.website_id = w.id AND last.seq = w.provisioning_seq
                 WHERE last.to_state <> w.provisioning_state AND (%s)
                   AND (w.provisioning_state <> 'pending' OR last.to_state = 'failed' AND w.created_at <= last.occurred_at)
               ) AS moved
         GROUP BY batch ORDER BY batch$$, known)
    LOOP
        UPDATE pwb_websites SET provisioning_state = provisioning_state WHERE id = ANY (ids);
        missed := missed + cardinality(ids);
        PERFORM set_config('provisioner.missed_moves', missed::text, false);
        COMMIT;
    END LOOP;
    FOR ids IN EXECUTE format($$
        SELECT array_agg(id)
          FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / {batch} AS batch
                  FROM pwb_websites WHERE NOT (%s) AND (%s)) AS breaking
         GROUP BY batch ORDER BY batch$$, complies, known)
    LOOP
        UPDATE pwb_websites SET updated_at = updated_at WHERE id = ANY (ids);
        COMMIT;
    END LOOP;
END
$do$;
