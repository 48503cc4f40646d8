-- Which of these websites exist, read without a lock: those are locked elsewhere, the rest are unknown.
SELECT id FROM pwb_websites WHERE id = ANY ($1::bigint[])
