"""API keys, replies kept for repeated requests, and the indexes that auditors' filters use.

Revision ID: 0003
Revises: 0002

The twins of the tables are in registry/keys.py and registry/replies.py. Nothing here is the audio of
anyone in the clear: a reply is encrypted under a secret that is not in the database.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE api_key (
    key_id        text PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{8}$'),
    digest        bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    label         text NOT NULL CHECK (char_length(label) BETWEEN 1 AND 100),
    scopes        text[] NOT NULL CHECK (scopes <@ ARRAY['generate', 'mark', 'audit'] AND scopes <> '{}'),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);

-- A row without a body is a request that its owner (registry/owner.py) is working on, or died over.
CREATE TABLE reply (
    key_id          text NOT NULL REFERENCES api_key (key_id),
    request_key     bytea NOT NULL CHECK (octet_length(request_key) = 32),
    request_sha256  bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    owner           bigint NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    body            bytea,
    PRIMARY KEY (key_id, request_key)
);
CREATE INDEX reply_created_at ON reply (created_at);

-- Encrypted bytes look random: compressing them costs time and saves nothing.
ALTER TABLE reply ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE INDEX generation_created_at ON generation (created_at);
CREATE INDEX generation_model ON generation (model, ordinal);
"""


def upgrade() -> None:
    op.execute(TABLES)
