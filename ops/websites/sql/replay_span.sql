-- From when to when events are published again, by the database's clock.
SELECT now() - $1::float8 * interval '1 second' AS since, now() AS until
