-- Request a pause of workers, by id or `all`; one that is requested already stays as it was. Requests for workers that
-- died without resuming are deleted here, after a day.
WITH gone AS (
    DELETE FROM provisioning_pauses AS p
     WHERE p.worker <> 'all' AND p.worker <> ALL ($1::text[]) AND p.since < now() - interval '1 day'
       AND NOT EXISTS (SELECT FROM provisioning_workers AS w WHERE w.id::text = p.worker)
)
INSERT INTO provisioning_pauses (worker, actor, reason)
SELECT worker, $2, $3 FROM unnest($1::text[]) AS request (worker)
    ON CONFLICT (worker) DO NOTHING
