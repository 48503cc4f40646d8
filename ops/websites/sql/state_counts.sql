-- How many websites are in each state.
SELECT provisioning_state AS state, count(*) AS count
  FROM pwb_websites
 GROUP BY provisioning_state
