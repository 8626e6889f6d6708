"""Codes of four bits a component: 64 bytes a window beside the 128 that are there.

Revision ID: 0006
Revises: 0005

Rows that are there stay as they are and are read as before; the length tells the two apart
(registry/packing.py). The previous release would take new codes for half as many windows, so it refuses this
schema when it starts, and must not run on meanwhile (docs/operations.md). The new check reads the table once,
during which nobody writes fingerprints; no row is written.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

EMBEDDING_WIDTH, CODE_BYTES = 128, 64  # of a window; twins: registry/tables.py


def upgrade() -> None:
    op.execute("ALTER TABLE fingerprint DROP CONSTRAINT fingerprint_codes")
    op.execute(
        "ALTER TABLE fingerprint ADD CONSTRAINT fingerprint_codes CHECK (octet_length(codes) "
        f"IN (num_windows * {CODE_BYTES}, num_windows * {EMBEDDING_WIDTH}))"
    )
