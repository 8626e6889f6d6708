"""What runs with the owner's rights looks up no table that its caller has made.

Revision ID: 0007
Revises: 0006

PostgreSQL searches a session's temporary tables first unless a search path names them. So a role that may
only add fingerprints could put a table of its own in place of the changelog, and a trigger on it would run
as the owner. Source: PostgreSQL manual, CREATE FUNCTION, "Writing SECURITY DEFINER Functions Safely". The
previous release keeps working on this schema.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The third runs with its caller's rights, who must not choose what it counts.
TEMPORARY_LAST = """
DO $$
DECLARE
    called text;
BEGIN
    FOREACH called IN ARRAY ARRAY[
        'fingerprint_log()', 'fingerprint_changelog_retain(interval)', 'log_entry_gap_free()'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
    END LOOP;
END
$$;
"""


def upgrade() -> None:
    op.execute(TEMPORARY_LAST)
