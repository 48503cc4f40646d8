-- What changes when a website moves or an attempt is counted.
SELECT id, provisioning_seq AS seq, provisioning_attempts AS attempts
  FROM pwb_websites
 WHERE id = ANY ($1::bigint[])
