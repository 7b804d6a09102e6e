-- Queue deliveries and drop the outbox rows that they came from, in one commit. Gives how many
-- deliveries were new.
CREATE OR REPLACE FUNCTION tell_runs(items jsonb, told bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    queued bigint;
BEGIN
    queued := queue_deliveries(items);
    DELETE FROM runs_outbox WHERE id = ANY (told);
    RETURN queued;
END $$;
