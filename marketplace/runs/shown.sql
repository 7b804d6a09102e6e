-- The entries of a charge or refund as its team sees them, in their order: what a lab has of it is
-- between the lab and us, and is told with our revenue.
CREATE OR REPLACE FUNCTION shown_entries(p_transfer bigint)
RETURNS TABLE (account text, yours boolean, currency text, amount bigint)
LANGUAGE sql STABLE AS $$
    SELECT n.name, n.yours, n.currency, n.amount FROM (
        SELECT s.name, a.team_id IS NOT NULL AS yours, a.currency::text, min(e.id) AS place,
               sum(e.amount)::bigint AS amount
          FROM ledger_entry e
          JOIN ledger_transfer t ON t.id = e.transfer_id
          JOIN ledger_account a ON a.id = e.account_id
         CROSS JOIN LATERAL (
               SELECT CASE WHEN a.team_id IS NULL AND starts_with(a.name, 'lab_payable:')
                           THEN (SELECT 'revenue:' || l.slug || '/' || m.slug
                                   FROM metering_price p
                                   JOIN catalog_release r ON r.id = p.release_id
                                   JOIN catalog_model m ON m.id = r.model_id
                                   JOIN catalog_lab l ON l.id = m.lab_id
                                  WHERE p.id = t.price_id)
                           ELSE a.name END AS name) s
         WHERE e.transfer_id = p_transfer
         GROUP BY s.name, a.currency, a.team_id IS NOT NULL,
                  CASE WHEN a.team_id IS NOT NULL THEN a.id END) n
     ORDER BY n.place;
$$;
