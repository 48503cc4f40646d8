-- Failed websites by their exact error and the state they failed from: what groups are made of.
SELECT provisioning_error AS error, provisioning_failed_from AS failed_from, count(*) AS websites,
       min(provisioning_failed_at) AS first_at, max(provisioning_failed_at) AS last_at,
       (array_agg(id ORDER BY provisioning_failed_at DESC, id DESC))[1] AS example
  FROM pwb_websites
 WHERE provisioning_state = 'failed'
 GROUP BY provisioning_error, provisioning_failed_from
