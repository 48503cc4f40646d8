-- Which of these websites exist, asked without a lock: those are held elsewhere, the rest are unknown.
SELECT id FROM pwb_websites WHERE id = ANY ($1::bigint[])
