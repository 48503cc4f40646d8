-- Erases what is kept of the owner of a website at rest, or says that it is not; null: of whoever has these addresses.
SELECT provisioning_erase($1::bigint, $2::text[], $3::text[])::text
