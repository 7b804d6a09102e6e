-- What runs cost us, written with their settlement: a memo between two system accounts.
--
-- items: [{run_id, amount, payable, cogs, currency, agreement}]; amount > 0. `payable` gets it (we owe it to a
-- lab, or a pool of our own has earned it), `cogs` gives it. Once per run, by the reference.
CREATE OR REPLACE FUNCTION book_costs(items jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM system_account(s.name, s.currency) FROM (
        SELECT DISTINCT unnest(ARRAY[i.payable, i.cogs]) AS name, i.currency
          FROM jsonb_to_recordset(items) AS i(payable text, cogs text, currency text)) s;
    WITH transfer AS (
        INSERT INTO ledger_transfer (kind, reference, run_id, agreement_id, note, event_at)
        SELECT 'cost', 'cost:' || i.run_id, i.run_id, i.agreement, '', now()
          FROM jsonb_to_recordset(items) AS i(run_id uuid, agreement bigint)
        ON CONFLICT (reference) DO NOTHING
        RETURNING id, run_id
    )
    INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
    SELECT t.id, a.id, CASE WHEN a.name = i.payable THEN i.amount ELSE -i.amount END, NULL
      FROM transfer t
      JOIN jsonb_to_recordset(items) AS
           i(run_id uuid, amount bigint, payable text, cogs text, currency text)
        ON i.run_id = t.run_id
      JOIN ledger_account a ON a.name IN (i.payable, i.cogs) AND a.currency = i.currency
           AND a.team_id IS NULL;
END $$;
