-- Websites that have been due for that long without a dispatcher claiming them. By the index on due times.
SELECT id FROM pwb_websites
 WHERE provisioning_due_at < now() - $1::float8 * interval '1 second'
 ORDER BY provisioning_due_at
 LIMIT $2
