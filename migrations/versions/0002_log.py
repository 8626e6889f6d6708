"""The transparency log: its entries, the outbox they are until they have an index, and their salts.

Revision ID: 0002
Revises: 0001

The twin of every table is in registry/tables.py. The previous release keeps working on this schema: it writes
generations without entries, and `earmark log monitor` names them.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE log_entry (
    entry_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log_index      bigint UNIQUE CHECK (log_index >= 0),
    kind           text NOT NULL CHECK (kind IN
                       ('generation', 'detector-release', 'policy-change', 'key-rotation', 'revocation')),
    generation_id  uuid,
    leaf           bytea NOT NULL CHECK (octet_length(leaf) BETWEEN 2 AND 65535),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The outbox: the sequencer looks only at these.
CREATE INDEX log_entry_pending ON log_entry (entry_id) WHERE log_index IS NULL;
CREATE INDEX log_entry_generation ON log_entry (generation_id, entry_id) WHERE generation_id IS NOT NULL;
CREATE INDEX log_entry_kind ON log_entry (kind, entry_id) WHERE kind <> 'generation';

CREATE TABLE log_salt (
    generation_id  uuid PRIMARY KEY,
    salt           bytea NOT NULL CHECK (octet_length(salt) = 32)
);

CREATE TABLE log_key (
    public_key  text PRIMARY KEY,
    since       timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

# An entry changes once: from no index to the next one. What was signed would otherwise differ from what is
# stored, without anybody noticing before the next full check.
APPEND_ONLY = """
CREATE FUNCTION log_entry_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.log_index IS NOT NULL OR NEW.log_index IS NULL
       OR ROW(NEW.entry_id, NEW.kind, NEW.generation_id, NEW.leaf, NEW.created_at)
          IS DISTINCT FROM ROW(OLD.entry_id, OLD.kind, OLD.generation_id, OLD.leaf, OLD.created_at) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'a log entry gets its index once and is otherwise never changed';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION log_entry_gap_free() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint; highest bigint; number bigint;
BEGIN
    SELECT min(log_index), max(log_index), count(*) INTO lowest, highest, number FROM sequenced;
    IF number > 0 AND (highest - lowest + 1 <> number OR (lowest > 0 AND NOT EXISTS
            (SELECT 1 FROM log_entry WHERE log_index = lowest - 1))) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'log_entry_gap_free',
            MESSAGE = 'log indexes follow each other without gap';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER log_entry_once BEFORE UPDATE ON log_entry
    FOR EACH ROW EXECUTE FUNCTION log_entry_once();
CREATE TRIGGER log_entry_gap_free AFTER UPDATE ON log_entry REFERENCING NEW TABLE AS sequenced
    FOR EACH STATEMENT EXECUTE FUNCTION log_entry_gap_free();
CREATE TRIGGER log_entry_append_only BEFORE DELETE OR TRUNCATE ON log_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_key_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_key
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(APPEND_ONLY)
