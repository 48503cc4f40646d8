-- How many of these failed websites there are by pack, by site type, by state and by hour, in rows that have one of the four;
-- and their attempts, in one that has none.
SELECT pack, site_type, failed_from, hour, grouping(pack, site_type, failed_from, hour) AS kept,
       count(*) AS websites, min(attempts) AS least_attempts, max(attempts) AS most_attempts
  FROM (SELECT coalesce(nullif(seed_pack_name, ''), $2::jsonb ->> site_type, $3) AS pack,
               coalesce(site_type, 'none') AS site_type, coalesce(provisioning_failed_from, 'unknown') AS failed_from,
               date_trunc('hour', provisioning_failed_at, 'UTC') AS hour, provisioning_attempts AS attempts
          FROM pwb_websites
         WHERE provisioning_state = 'failed' AND id = ANY ($1::bigint[])) AS member
 GROUP BY GROUPING SETS ((pack), (site_type), (failed_from), (hour), ())
 ORDER BY hour, count(*) DESC, 1, 2, 3
