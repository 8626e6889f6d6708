"""A generation is closed once: what it was begun as, and what it was closed with, is never changed.

Revision ID: 0008
Revises: 0007

The service's role may change the four columns that a generation is closed with, and could so far do it again
afterwards. The log would tell (`earmark log verify`), and the table refuses it now. Rows that are there are
not read. The previous release keeps working on this schema.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CLOSED_ONCE = """
CREATE FUNCTION generation_closes_once() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.state <> 'open' THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'generation ' || OLD.generation_id || ' is ' || OLD.state || ' and never changed again';
    END IF;
    IF to_jsonb(NEW) - ARRAY['state', 'finished_at', 'num_samples', 'pcm_sha256']
        <> to_jsonb(OLD) - ARRAY['state', 'finished_at', 'num_samples', 'pcm_sha256'] THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'what generation ' || OLD.generation_id || ' was begun as is never changed';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER generation_closes_once BEFORE UPDATE ON generation
    FOR EACH ROW EXECUTE FUNCTION generation_closes_once();
CREATE TRIGGER generation_kept BEFORE DELETE OR TRUNCATE ON generation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(CLOSED_ONCE)
