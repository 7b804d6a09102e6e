-- What was decided about a run's money stays as it was written.
CREATE OR REPLACE TRIGGER decisions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON runs_decision
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
