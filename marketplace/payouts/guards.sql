-- Agreements: one per lab, currency and instant; never edited, only ended.

ALTER TABLE payouts_agreement DROP CONSTRAINT IF EXISTS agreement_once_per_instant;
ALTER TABLE payouts_agreement ADD CONSTRAINT agreement_once_per_instant EXCLUDE USING gist (
    int8range(lab_id, lab_id, '[]') WITH &&,
    textrange(currency, currency, '[]') WITH &&,
    tstzrange(effective_from, effective_to) WITH &&
);

CREATE OR REPLACE FUNCTION agreement_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.effective_to IS NULL
       AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an agreement is superseded, never edited'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER agreement_kept BEFORE UPDATE OR DELETE ON payouts_agreement
    FOR EACH ROW EXECUTE FUNCTION agreement_kept();

CREATE OR REPLACE TRIGGER statements_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_statement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER statement_lines_kept
    BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_statementline
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What a supplier billed is its word; what we decide about it is in the differences.
CREATE OR REPLACE TRIGGER invoices_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER invoice_lines_kept
    BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_invoiceline
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
