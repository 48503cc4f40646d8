-- Drops the columns of pwb_websites that only workers of version 0.1.0 use, and what copies them.
DROP TRIGGER IF EXISTS provisioning_copies_renamed_columns ON pwb_websites;
DROP FUNCTION IF EXISTS provisioning_copy_renamed_columns;
ALTER TABLE pwb_websites DROP COLUMN IF EXISTS skip_properties, DROP COLUMN IF EXISTS auto_go_live;
