"""Run the migrations on the connection that the caller puts into `config.attributes["connection"]`.

All pending migrations are one transaction: a crash anywhere in it leaves the schema as it was before.
Several processes may open one database at once, so an advisory lock makes the second wait and then find
nothing to do.
There is no command-line or offline mode; `registry.database.migrate` is the one caller.
"""

from alembic import context
from sqlalchemy import Connection, text

LOCK_SPACE, LOCK_MIGRATIONS = 0x6561726D, 2  # twin: registry/tables.py

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection)

with context.begin_transaction():
    # Another process may be migrating for a while; nobody waits behind this lock but other openers.
    connection.execute(text("SET LOCAL lock_timeout = '300s'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:a, :b)"), {"a": LOCK_SPACE, "b": LOCK_MIGRATIONS})
    # A table lock that waits also blocks everyone who comes after it: give up soon and say so.
    connection.execute(text("SET LOCAL lock_timeout = '4s'"))
    context.run_migrations()
