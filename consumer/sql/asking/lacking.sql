-- Which of these tables and indexes, and which of these columns, the database does not have.
SELECT relation AS name
  FROM unnest($1::text[]) AS relation
 WHERE to_regclass(relation) IS NULL
 UNION ALL
SELECT relation || '.' || attribute
  FROM unnest($2::text[], $3::text[]) AS wanted (relation, attribute)
 WHERE NOT EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = to_regclass(relation) AND attname = attribute AND NOT attisdropped)
