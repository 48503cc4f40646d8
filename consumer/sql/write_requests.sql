-- Keeps what a website.created brought for a website that waits for it; what was kept before wins.
UPDATE pwb_websites AS w
   SET provisioning_request = brought.request::jsonb || coalesce(w.provisioning_request, '{}'), updated_at = now()
  FROM unnest($1::bigint[], $2::text[]) AS brought (website_id, request)
 WHERE w.id = brought.website_id
