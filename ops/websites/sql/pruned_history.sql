-- What is kept of the rows of a website's history that were pruned.
SELECT through_seq, to_state, last_at, pruned_at FROM provisioning_pruned WHERE website_id = $1
