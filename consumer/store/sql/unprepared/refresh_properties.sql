-- Has the view refreshed unless it is as new as asked, by default as new as now; says in how many seconds to ask again.
SELECT asked_at, provisioning_refresh_properties(asked_at) AS seconds
  FROM (SELECT coalesce($1::timestamptz, clock_timestamp())) AS asked (asked_at)
