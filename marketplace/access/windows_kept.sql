-- What no code may do to windows and grants, whoever calls it. The embedded PostgreSQL has no
-- btree_gist, so a range that holds one number stands for equality.

ALTER TABLE access_window DROP CONSTRAINT IF EXISTS window_once_per_instant;
ALTER TABLE access_window ADD CONSTRAINT window_once_per_instant EXCLUDE USING gist (
    int8range(release_id, release_id, '[]') WITH &&, span WITH &&
) WHERE (withdrawn_at IS NULL AND kind <> 'exclusive');
ALTER TABLE access_window DROP CONSTRAINT IF EXISTS exclusive_once_per_instant;
ALTER TABLE access_window ADD CONSTRAINT exclusive_once_per_instant EXCLUDE USING gist (
    int8range(release_id, release_id, '[]') WITH &&, span WITH &&
) WHERE (withdrawn_at IS NULL AND kind = 'exclusive');
ALTER TABLE access_window DROP CONSTRAINT IF EXISTS window_half_open;
ALTER TABLE access_window ADD CONSTRAINT window_half_open CHECK (
    NOT isempty(span) AND lower_inc(span) AND NOT upper_inc(span)
    AND (kind = 'exclusive' OR NOT upper_inf(span)));

CREATE OR REPLACE FUNCTION window_refused(p_reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', p_reason USING ERRCODE = 'restrict_violation';
END $$;

-- A window is for what is to come: it begins now or later, its past is never rewritten, and what
-- everybody has seen is not made a secret again.
CREATE OR REPLACE FUNCTION window_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF lower(NEW.span) < now() THEN
            PERFORM window_refused('a window begins now or later');
        END IF;
        IF NEW.kind = 'embargo' AND (
            EXISTS (SELECT 1 FROM catalog_release r
                     WHERE r.id = NEW.release_id AND r.published_at < lower(NEW.span)
                       AND NOT EXISTS (
                           SELECT 1 FROM access_window w
                            WHERE w.release_id = r.id AND w.kind = 'embargo'
                              AND w.withdrawn_at IS NULL AND w.span @> r.published_at
                              AND upper(w.span) >= lower(NEW.span)))
            OR EXISTS (SELECT 1 FROM access_window w
                        WHERE w.release_id = NEW.release_id AND w.kind = 'early_access'
                          AND w.withdrawn_at IS NULL AND lower(w.span) < lower(NEW.span)))
        THEN
            PERFORM window_refused('what everybody has seen cannot be embargoed');
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR OLD.withdrawn_at IS NOT NULL OR upper(OLD.span) <= now()
       OR (NEW.release_id, NEW.kind, NEW.created_at) <> (OLD.release_id, OLD.kind, OLD.created_at)
    THEN
        PERFORM window_refused('a window that is over, and whose it is, stays as it is');
    END IF;
    IF lower(NEW.span) <> lower(OLD.span)
       AND (lower(OLD.span) <= now() OR lower(NEW.span) < now()) THEN
        PERFORM window_refused('a window that has begun keeps its beginning');
    END IF;
    IF upper(NEW.span) IS DISTINCT FROM upper(OLD.span) AND upper(NEW.span) < now() THEN
        PERFORM window_refused('a window ends now or later');
    END IF;
    IF NEW.withdrawn_at IS NOT NULL AND lower(OLD.span) <= now() THEN
        PERFORM window_refused('a window that has begun is closed, not withdrawn');
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER window_kept BEFORE INSERT OR UPDATE OR DELETE ON access_window
    FOR EACH ROW EXECUTE FUNCTION window_kept();

-- Grants are for early access, in a way that the window's audience names; they stay on record.
CREATE OR REPLACE FUNCTION grant_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM window_refused('a grant is revoked, never deleted');
    END IF;
    IF NOT EXISTS (SELECT 1 FROM access_window w
                    WHERE w.id = NEW.window_id AND w.kind = 'early_access'
                      AND w.audience ? NEW.reason AND w.withdrawn_at IS NULL) THEN
        PERFORM window_refused('this window is not granted for this reason');
    END IF;
    IF TG_OP = 'UPDATE'
       AND (NEW.window_id, NEW.team_id, NEW.reason) <> (OLD.window_id, OLD.team_id, OLD.reason) THEN
        PERFORM window_refused('a grant keeps its window, team and reason');
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER grant_kept BEFORE INSERT OR UPDATE OR DELETE ON access_grant
    FOR EACH ROW EXECUTE FUNCTION grant_kept();
