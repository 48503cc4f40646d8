-- Want workers paused, by id or `all`; what is wanted already stays as it was. What was wanted of workers that have died
-- without a word is cleared away here, after a day.
WITH gone AS (
    DELETE FROM provisioning_pauses AS p
     WHERE p.worker <> 'all' AND p.worker <> ALL ($1::text[]) AND p.since < now() - interval '1 day'
       AND NOT EXISTS (SELECT FROM provisioning_workers AS w WHERE w.id::text = p.worker)
)
INSERT INTO provisioning_pauses (worker, actor, reason)
SELECT worker, $2, $3 FROM unnest($1::text[]) AS asked (worker)
    ON CONFLICT (worker) DO NOTHING
