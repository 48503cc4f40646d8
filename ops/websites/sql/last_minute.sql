-- Counts of the last minute: all transitions, the websites that went live, and those that failed.
SELECT count(*) AS transitions, count(*) FILTER (WHERE trigger = 'go_live') AS live,
       count(*) FILTER (WHERE to_state = 'failed') AS failed
  FROM provisioning_transitions
 WHERE occurred_at > now() - interval '1 minute'
