"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}

Rules: import nothing of ours; repeat constants and say where their twin is; add what the new code needs and keep
what the previous release uses; say how long a lock is held on a table that may be large.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "raise NotImplementedError"}
