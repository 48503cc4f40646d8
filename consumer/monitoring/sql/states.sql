-- How many websites are in each of these states: counted in the index up to a bound, and where there are more, what the
-- planner's statistics say.
SELECT asked.state,
       CASE WHEN found.count < $2::bigint THEN found.count ELSE greatest(found.count, found.estimate::bigint) END AS count
  FROM unnest($1::text[]) AS asked (state)
 CROSS JOIN LATERAL (
       SELECT (SELECT count(*) FROM (SELECT FROM pwb_websites WHERE provisioning_state = asked.state LIMIT $2) AS few),
              (SELECT t.reltuples * coalesce(sum(common.share), 0)
                 FROM pg_class AS t
                 LEFT JOIN pg_stats AS s
                   ON s.schemaname = t.relnamespace::regnamespace::text AND s.tablename = t.relname
                  AND s.attname = 'provisioning_state' AND NOT s.inherited
                 LEFT JOIN unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS common (state, share)
                   ON common.state = asked.state
                WHERE t.oid = 'pwb_websites'::regclass
                GROUP BY t.reltuples)
       ) AS found (count, estimate)
