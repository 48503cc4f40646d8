-- Which of these columns pwb_websites still has.
SELECT attname::text AS name
  FROM pg_attribute
 WHERE attrelid = to_regclass('pwb_websites') AND attname = ANY ($1::text[]) AND NOT attisdropped
 ORDER BY attname
