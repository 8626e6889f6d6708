"""Generations, packed fingerprints and their changelog.

Revision ID: 0001
Revises:

The twin of every table is in registry/tables.py. Needs nothing beyond PostgreSQL 15 core: no extension.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EMBEDDING_WIDTH = 128  # twin: registry/tables.py
CONTENT_ID_LIMIT = 1 << 48  # twin: registry/tables.py, CONTENT_ID_BITS

TABLES = f"""
-- One row: tells this registry from every other, so that no index of another one is ever taken for its own.
CREATE TABLE registry_identity (
    registry_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO registry_identity DEFAULT VALUES;

CREATE TABLE generation (
    ordinal         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation_id   uuid NOT NULL UNIQUE,
    content_id      bigint NOT NULL UNIQUE CHECK (content_id >= 0 AND content_id < {CONTENT_ID_LIMIT}),
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'complete', 'aborted')),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    system          text NOT NULL,
    system_version  text NOT NULL,
    model           text NOT NULL,
    sample_rate_hz  integer NOT NULL CHECK (sample_rate_hz > 0),
    num_samples     bigint NOT NULL DEFAULT 0 CHECK (num_samples >= 0),
    pcm_sha256      bytea CHECK (octet_length(pcm_sha256) = 32),
    metadata        jsonb NOT NULL DEFAULT '{{}}',
    owner           bigint NOT NULL,
    CONSTRAINT generation_finished CHECK ((state = 'open') = (finished_at IS NULL)),
    CONSTRAINT generation_complete CHECK (state <> 'complete' OR pcm_sha256 IS NOT NULL)
);

-- Recovery looks only at open rows; there are never more of these than utterances being spoken.
CREATE INDEX generation_open_owner ON generation (owner) WHERE state = 'open';

CREATE TABLE fp_model (
    fp_model_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    weights_sha256  bytea NOT NULL UNIQUE CHECK (octet_length(weights_sha256) = 32),
    version         text NOT NULL
);

CREATE TABLE fingerprint (
    generation_ordinal  bigint NOT NULL REFERENCES generation (ordinal),
    first_window        integer NOT NULL CHECK (first_window >= 0),
    num_windows         integer NOT NULL CHECK (num_windows > 0),
    fp_model_id         integer NOT NULL REFERENCES fp_model (fp_model_id),
    codes               bytea NOT NULL,
    informative         bytea NOT NULL,
    PRIMARY KEY (generation_ordinal, first_window),
    CONSTRAINT fingerprint_codes CHECK (octet_length(codes) = num_windows * {EMBEDDING_WIDTH}),
    CONSTRAINT fingerprint_informative CHECK (octet_length(informative) = (num_windows + 7) / 8)
);

-- Codes look random: compressing them costs time and saves nothing.
ALTER TABLE fingerprint ALTER COLUMN codes SET STORAGE EXTERNAL;

-- No foreign key: a log records what happened and is never in the way of its table.
CREATE TABLE fingerprint_changelog (
    position            bigint PRIMARY KEY,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    generation_ordinal  bigint NOT NULL,
    first_window        integer NOT NULL
);
CREATE SEQUENCE fingerprint_changelog_position AS bigint OWNED BY fingerprint_changelog.position;
"""

# Lock, then number. Without the lock a low position could commit after a high one, and a replica that has
# already read the high one would never see it. The lock is held until the commit is visible; the insert is
# the last statement of its transaction, so that is one disk flush. The lock's two numbers have their twins in
# registry/tables.py: LOCK_SPACE and LOCK_CHANGELOG.
#
# The same lock makes the check of contiguity safe: nobody can insert between looking and committing.
LOG_TRIGGER = """
CREATE FUNCTION fingerprint_log() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    expected integer;
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
    INSERT INTO fingerprint_changelog (position, generation_ordinal, first_window)
        VALUES (nextval('fingerprint_changelog_position'), NEW.generation_ordinal, NEW.first_window);
    RETURN NULL;
END
$$;

CREATE TRIGGER fingerprint_log AFTER INSERT ON fingerprint
    FOR EACH ROW EXECUTE FUNCTION fingerprint_log();
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'rows of ' || TG_TABLE_NAME || ' are never changed or removed';
END
$$;

CREATE TRIGGER fingerprint_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fingerprint
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fingerprint_changelog_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fingerprint_changelog
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(LOG_TRIGGER)
    op.execute(APPEND_ONLY)
