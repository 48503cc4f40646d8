-- The sequences that give tables their ids, serial or identity columns alike: where each is, how far it may be moved,
-- and which rights this role has on it. `reach` is halfway between its last value and its end: an id beyond it is left
-- alone, so that one signup with a huge id does not use up the ids of everybody. `last_value` is that of a sequence
-- that was used: one that was restarted shows its next value to nobody without SELECT on it.
SELECT t.oid::regclass::text AS table_name, s.seqrelid::regclass::text AS name, key.conname::text AS primary_key,
       s.seqincrement AS step,
       CASE WHEN s.seqcycle THEN NULL
            WHEN a.atttypid = 'integer'::regtype THEN least(s.seqmax, 2147483647) ELSE s.seqmax END AS most,
       last.value AS last_value, last.value + (s.seqmax - last.value) / 2 AS reach,
       has_sequence_privilege(s.seqrelid, 'USAGE, UPDATE') AS may_step,
       has_sequence_privilege(s.seqrelid, 'UPDATE') AS may_set, has_sequence_privilege(s.seqrelid, 'SELECT') AS may_read
  FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place)
  JOIN pg_class AS t ON t.oid = to_regclass(asked.name)
  JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = 'id' AND NOT a.attisdropped
  JOIN pg_sequence AS s
    ON s.seqrelid = coalesce(
           (SELECT drawn.refobjid                              -- what the column's default draws from
              FROM pg_attrdef AS def
              JOIN pg_depend AS drawn ON drawn.classid = 'pg_attrdef'::regclass AND drawn.objid = def.oid
                                     AND drawn.refclassid = 'pg_class'::regclass
              JOIN pg_sequence AS one ON one.seqrelid = drawn.refobjid
             WHERE def.adrelid = t.oid AND def.adnum = a.attnum LIMIT 1),
           (SELECT own.objid                                   -- what belongs to it: an identity has no default
              FROM pg_depend AS own
              JOIN pg_sequence AS one ON one.seqrelid = own.objid
             WHERE own.refclassid = 'pg_class'::regclass AND own.refobjid = t.oid AND own.refobjsubid = a.attnum
               AND own.classid = 'pg_class'::regclass AND own.deptype IN ('a', 'i') LIMIT 1))
   AND s.seqincrement > 0
  LEFT JOIN pg_constraint AS key ON key.conrelid = t.oid AND key.contype = 'p' AND key.conkey = ARRAY[a.attnum]
 CROSS JOIN LATERAL (
       SELECT CASE WHEN has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
                   THEN coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1) END) AS last (value)
 ORDER BY asked.place
