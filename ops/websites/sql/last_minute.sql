-- Counts of the last minute: all transitions, and the websites that went live.
SELECT count(*) AS transitions, count(*) FILTER (WHERE trigger = 'go_live') AS live
  FROM provisioning_transitions
 WHERE occurred_at > now() - interval '1 minute'
