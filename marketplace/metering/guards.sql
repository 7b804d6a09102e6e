-- Prices: one per release, currency, segment and instant; never edited, only ended.

-- The embedded PostgreSQL has no btree_gist. A range over text holds exactly one text, so that two
-- segments overlap where they are the same and never by a collision of hashes.
DO $$ BEGIN
    IF to_regtype('textrange') IS NULL THEN
        CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
    END IF;
END $$;

ALTER TABLE metering_price DROP CONSTRAINT IF EXISTS price_once_per_instant;
ALTER TABLE metering_price ADD CONSTRAINT price_once_per_instant EXCLUDE USING gist (
    int8range(release_id, release_id, '[]') WITH &&,
    textrange(currency, currency, '[]') WITH &&,
    textrange(segment, segment, '[]') WITH &&,
    tstzrange(effective_from, effective_to) WITH &&
);

CREATE OR REPLACE FUNCTION price_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.effective_to IS NULL
       AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a published price is superseded, never edited'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER price_kept BEFORE UPDATE OR DELETE ON metering_price
    FOR EACH ROW EXECUTE FUNCTION price_kept();

-- What a lab charges us is kept in the same way.

ALTER TABLE metering_tariff DROP CONSTRAINT IF EXISTS tariff_once_per_instant;
ALTER TABLE metering_tariff ADD CONSTRAINT tariff_once_per_instant EXCLUDE USING gist (
    int8range(release_id, release_id, '[]') WITH &&,
    tstzrange(effective_from, effective_to) WITH &&
) WHERE (currency = 'USD');

CREATE OR REPLACE TRIGGER tariff_kept BEFORE UPDATE OR DELETE ON metering_tariff
    FOR EACH ROW EXECUTE FUNCTION price_kept();
