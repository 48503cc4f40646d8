-- In a database of this service's own: a website is born pending, moves along edges alone, and looks after itself where
-- its website.created does not come.
DROP TRIGGER IF EXISTS provisioning_fills_failure ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_guards_own_rows ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_logs_product_moves ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_postpones_rescue ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_sets_rescue ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_checks_pool ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_checks_pool_later ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_marks_pool ON pwb_websites;
DROP TRIGGER IF EXISTS provisioning_marks_pool_later ON pwb_websites;
DROP FUNCTION IF EXISTS provisioning_fill_failure, provisioning_log_product_move, provisioning_postpone_rescue,
                        provisioning_check_pool, provisioning_mark_pool,
                         provisioning_refresh_properties;

-- Not with the column: a default that comes with it would make every website due that is already there.
ALTER TABLE pwb_websites
    ALTER COLUMN provisioning_state SET DEFAULT 'pending',
    ALTER COLUMN provisioning_due_at SET DEFAULT now() + interval '10 minutes';

CREATE OR REPLACE TRIGGER provisioning_born_pending BEFORE INSERT ON pwb_websites
    FOR EACH ROW WHEN (NEW.provisioning_state <> 'pending')
    EXECUTE FUNCTION provisioning_refuse_illegal_change();
CREATE OR REPLACE TRIGGER provisioning_moves_along_edges BEFORE UPDATE OF provisioning_state ON pwb_websites
    FOR EACH ROW WHEN (OLD.provisioning_state IS DISTINCT FROM NEW.provisioning_state
                       -- Websites that the existing product has locked leave that state as it sees fit.
                       AND NOT starts_with(OLD.provisioning_state, 'locked_pending_'))
    EXECUTE FUNCTION provisioning_refuse_illegal_change();
