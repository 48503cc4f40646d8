-- How many seconds websites have been in their state.
SELECT w.id, extract(epoch FROM clock_timestamp() - coalesce(t.occurred_at, w.created_at))::float8 AS seconds
  FROM pwb_websites AS w
  LEFT JOIN provisioning_transitions AS t ON t.website_id = w.id AND t.seq = w.provisioning_seq
 WHERE w.id = ANY ($1::bigint[])
