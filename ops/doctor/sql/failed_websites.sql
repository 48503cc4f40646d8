-- How many websites of this service's own have failed, the newest of them, and how many that it never provisioned: those
-- are the existing product's matter. By the index on the state.
SELECT count(*) FILTER (WHERE ours) AS websites, count(*) FILTER (WHERE NOT ours) AS others,
       (array_agg(id ORDER BY id DESC) FILTER (WHERE ours))[1:5] AS newest
  FROM (SELECT id, provisioning_seq > 0 OR provisioning_attempts > 0 OR provisioning_request IS NOT NULL AS ours
          FROM pwb_websites
         WHERE provisioning_state = 'failed') AS failed
