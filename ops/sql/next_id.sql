-- Reserves ids for websites that a signup is about to bring.
SELECT nextval(pg_get_serial_sequence('pwb_websites', 'id')) AS id FROM generate_series(1, $1::int)
