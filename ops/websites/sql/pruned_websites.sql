-- Of how many websites, or whether of one, rows since a time were pruned: their events cannot be published again.
SELECT count(*) FROM provisioning_pruned WHERE last_at >= $1 AND ($2::bigint IS NULL OR website_id = $2)
