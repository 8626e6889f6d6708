"""The database schema as Alembic migrations. They import nothing of ours, so that an old one never changes.

`registry.database` runs them at every open; the same ones build the tests' databases. There are no
downgrades: a migration first adds what the new code needs and leaves what the old code uses (expand), and a
later release removes it (contract), so that the previous release keeps working on the newer schema.
"""
