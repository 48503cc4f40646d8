-- How many websites have failed, and the newest of them. By the index on the state.
SELECT count(*) AS websites,
       ARRAY(SELECT id FROM pwb_websites WHERE provisioning_state = 'failed' ORDER BY id DESC LIMIT $1) AS newest
  FROM pwb_websites
 WHERE provisioning_state = 'failed'
