-- Websites, of the newest, whose history has a gap, a step that does not begin where the one before ended, or another end
-- than the website's state. One that was deleted and inserted again begins at pending once more. Rows that were pruned count
-- as there: they are the first ones, and where the last of them led is kept.
WITH looked AS (
    SELECT w.id, w.provisioning_seq AS seq, w.provisioning_state AS state, coalesce(p.through_seq, 0) AS pruned, p.to_state
      FROM pwb_websites AS w LEFT JOIN provisioning_pruned AS p ON p.website_id = w.id ORDER BY w.id DESC LIMIT $1
)
SELECT l.id
  FROM looked AS l
 CROSS JOIN LATERAL (
    SELECT l.pruned + count(*) AS rows, coalesce(max(step.seq), 0) AS last, coalesce(bool_or(step.jumps), false) AS jumps,
           (array_agg(step.to_state ORDER BY step.seq DESC))[1] AS state
      FROM (SELECT t.seq, t.to_state,
                   t.seq <= l.pruned
                   OR t.from_state <> 'pending' AND t.from_state <> lag(t.to_state, 1, l.to_state) OVER (ORDER BY t.seq)
                   AS jumps
              FROM provisioning_transitions AS t WHERE t.website_id = l.id) AS step
 ) AS history
 WHERE history.rows <> l.seq OR history.last <> l.seq OR history.jumps
    OR (l.seq > 0 AND history.state <> l.state AND l.state <> 'pending' AND NOT starts_with(l.state, 'locked_pending_'))
 LIMIT $2
