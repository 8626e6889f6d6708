"""The changelog in partitions that can be dropped when every replica has read them.

Revision ID: 0004
Revises: 0003

The previous release keeps working on this schema as long as nothing is dropped: it reads and writes
`fingerprint_changelog` by the same columns. What the table held so far becomes the first partition, which
costs one scan of it (0.1 s for a million rows) during which nobody writes fingerprints.

The table `fingerprint` stays whole: rows are never changed or removed, so there is nothing that partitions
would make cheaper (docs/decisions/0022).
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PARTITION_POSITIONS = 1 << 20  # about 100 MB; twin: registry/changelog.py

PARTITIONED = f"""
ALTER SEQUENCE fingerprint_changelog_position OWNED BY NONE;

DO $$
DECLARE
    number bigint := (SELECT last_value FROM fingerprint_changelog_position) / {PARTITION_POSITIONS};
    old    text := 'fingerprint_changelog_' || number;
BEGIN
    EXECUTE format('ALTER TABLE fingerprint_changelog RENAME TO %I', old);
    EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT fingerprint_changelog_pkey TO %I', old, old || '_pkey');
    EXECUTE format('CREATE TABLE fingerprint_changelog (LIKE %I INCLUDING ALL)
                    PARTITION BY RANGE (position)', old);
    EXECUTE format('ALTER TABLE fingerprint_changelog ATTACH PARTITION %I FOR VALUES FROM (0) TO (%s)',
                   old, (number + 1) * {PARTITION_POSITIONS});
END
$$;

ALTER SEQUENCE fingerprint_changelog_position OWNED BY fingerprint_changelog.position;
CREATE TRIGGER fingerprint_changelog_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fingerprint_changelog
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One row: every position up to this one is gone. A reader that asks for what lies behind a lower position
-- would otherwise get rows and never learn that some are missing.
CREATE TABLE fingerprint_changelog_floor (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position   bigint NOT NULL DEFAULT 0
);
INSERT INTO fingerprint_changelog_floor DEFAULT VALUES;
"""  # noqa: S608 - a constant of this file

# A partition is made by the first insert that needs it, in that insert's transaction and under the same lock,
# so it can be neither missing nor made twice. LIKE and ATTACH block no reader, as PARTITION OF would.
# SECURITY DEFINER: whoever may only insert fingerprints may make partitions this way and no other.
LOG_TRIGGER = f"""
CREATE OR REPLACE FUNCTION fingerprint_log() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    expected integer;
    next     bigint;
    number   bigint;
    part     text;
BEGIN
    PERFORM pg_advisory_xact_lock(1700885101, 1);
    SELECT f.first_window + f.num_windows INTO expected
        FROM fingerprint f
        WHERE f.generation_ordinal = NEW.generation_ordinal AND f.first_window < NEW.first_window
        ORDER BY f.first_window DESC LIMIT 1;
    IF NEW.first_window <> coalesce(expected, 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'fingerprint_contiguous',
            MESSAGE = 'fingerprint windows must follow each other without gap or overlap';
    END IF;
    next := nextval('fingerprint_changelog_position');
    number := next / {PARTITION_POSITIONS};
    part := 'fingerprint_changelog_' || number;
    IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE fingerprint_changelog INCLUDING ALL)', part);
        EXECUTE format('CREATE TRIGGER fingerprint_changelog_append_only
                        BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
        EXECUTE format('ALTER TABLE fingerprint_changelog ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       part, number * {PARTITION_POSITIONS}, (number + 1) * {PARTITION_POSITIONS});
    END IF;
    INSERT INTO fingerprint_changelog (position, generation_ordinal, first_window)
        VALUES (next, NEW.generation_ordinal, NEW.first_window);
    RETURN NULL;
END
$$;
"""  # noqa: S608 - a constant of this file

# Whole partitions only, never the one in use, never anything younger than a day. The last position's time is
# the partition's: times rise with positions unless the clock was set back, and then more is kept, not less.
RETENTION = f"""
CREATE FUNCTION fingerprint_changelog_retain(keep interval) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '4s' AS $$
DECLARE
    number      bigint;
    newest      timestamptz;
    num_dropped integer := 0;
BEGIN
    IF keep IS NULL OR keep < interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the changelog is kept for a day at least';
    END IF;
    PERFORM pg_advisory_xact_lock(1700885101, 1);
    FOR number IN
        SELECT substring(part.relname FROM '[0-9]+$')::bigint AS n
        FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
        WHERE inhparent = 'fingerprint_changelog'::regclass ORDER BY n
    LOOP
        EXIT WHEN (number + 1) * {PARTITION_POSITIONS}
            > (SELECT last_value FROM fingerprint_changelog_position);
        EXECUTE format('SELECT created_at FROM %I ORDER BY position DESC LIMIT 1',
                       'fingerprint_changelog_' || number) INTO newest;
        EXIT WHEN newest > clock_timestamp() - keep;
        EXECUTE format('DROP TABLE %I', 'fingerprint_changelog_' || number);
        UPDATE fingerprint_changelog_floor SET position = (number + 1) * {PARTITION_POSITIONS} - 1;
        num_dropped := num_dropped + 1;
    END LOOP;
    RETURN num_dropped;
END
$$;
REVOKE ALL ON FUNCTION fingerprint_changelog_retain FROM PUBLIC;
"""  # noqa: S608 - a constant of this file


def upgrade() -> None:
    op.execute(PARTITIONED)
    op.execute(LOG_TRIGGER)
    op.execute(RETENTION)
