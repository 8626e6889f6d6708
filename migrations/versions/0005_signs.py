"""Sub-fingerprints beside the codes: 64 bytes for each window.

Revision ID: 0005
Revises: 0004

The previous release keeps working on this schema: it writes rows without signs and does not read the column.
Rows without are of an earlier version of the fingerprint, whose codes are compared with nothing of this one
(docs/decisions/0034). The column changes the catalogue alone, however many rows there are; its check reads
the table once, during which nobody writes fingerprints.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BYTES = 64  # of a window; twin: registry/tables.py


def upgrade() -> None:
    op.execute("ALTER TABLE fingerprint ADD COLUMN signs bytea")
    # As random as codes are: compressing them costs time and saves nothing.
    op.execute("ALTER TABLE fingerprint ALTER COLUMN signs SET STORAGE EXTERNAL")
    op.execute(
        "ALTER TABLE fingerprint ADD CONSTRAINT fingerprint_signs "
        f"CHECK (octet_length(signs) = num_windows * {BYTES})"
    )
