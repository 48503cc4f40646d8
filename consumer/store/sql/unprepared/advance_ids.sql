-- Moves a sequence past ids that were not drawn from it, if one of them lies ahead of it and within reach; returns how
-- far it is then, and nothing where it was far enough: most often. Never backwards: a sequence is not transactional, so
-- whoever moves it holds an advisory lock, draws a value to learn where it is now, and then draws one by one. Only over
-- more than a thousand it is set instead, which may lie behind only if others, who take no lock, draw as many between
-- two expressions of one statement. Without the right to set it, it goes a million ids at a time.
-- The statement's own commit waits for no disk: that of the rows with these ids comes later, and brings it there.
WITH ahead AS MATERIALIZED (
    SELECT s.seqrelid, s.seqincrement, wanted.id
      FROM pg_sequence AS s
     CROSS JOIN LATERAL (SELECT CASE WHEN has_sequence_privilege(s.seqrelid, 'USAGE, UPDATE')
                                          AND has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
                                     THEN coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1) END) AS last (id)
     CROSS JOIN LATERAL (SELECT max(brought.id) AS id
                           FROM unnest($2::bigint[]) AS brought (id)
                          WHERE brought.id > last.id AND brought.id <= last.id + (s.seqmax - last.id) / 2) AS wanted
     WHERE s.seqrelid = to_regclass($1) AND wanted.id IS NOT NULL
), locked AS MATERIALIZED (
    SELECT ahead.*, pg_advisory_xact_lock('pg_class'::regclass::int, seqrelid::int),
           set_config('synchronous_commit', 'off', true)
      FROM ahead
), drawn AS MATERIALIZED (
    SELECT locked.*, CASE WHEN (id > pg_sequence_last_value(seqrelid)) IS NOT FALSE THEN nextval(seqrelid)
                          ELSE pg_sequence_last_value(seqrelid) END AS last
      FROM locked
)
SELECT CASE WHEN id <= last THEN last
            WHEN (id - last) / seqincrement > 1000 AND has_sequence_privilege(seqrelid, 'UPDATE')
            THEN setval(seqrelid, id)
            ELSE (SELECT max(one.id)
                    FROM (SELECT nextval(seqrelid) AS id
                            FROM generate_series(1, least((id - last + seqincrement - 1) / seqincrement, 1000000))) AS one)
            END AS last_value
  FROM drawn
