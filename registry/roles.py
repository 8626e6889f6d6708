"""What the service's own role may do in PostgreSQL, when it is not the role that owns the tables.

    earmark registry grant ROLE        as the owner, once for each role and after each upgrade

The triggers refuse to change or remove what was released, and the owner could drop them. A service that runs
under a role of its own cannot: it may add rows, close a generation, give a log entry its index, look after
keys and kept replies, and nothing else. It cannot migrate either. Not covered: making the role and its
password, which is the server's administrator's; the embedded server, where the service is the owner.
"""

from psycopg2.extensions import quote_ident
from sqlalchemy import Connection, text

from registry.errors import RegistryInputError

_ADD = ("generation", "fingerprint", "fp_model", "log_entry", "log_salt", "log_key", "api_key", "reply")
_CHANGE = {
    "generation": "state, finished_at, num_samples, pcm_sha256",
    "log_entry": "log_index",
    "api_key": "label, revoked_at, last_used_at",
    "reply": "owner, body",
}


def grant(connection: Connection, role: str) -> None:
    """Give an existing role exactly these rights in this database; what it had beyond them on our tables is
    taken away. Raises `RegistryInputError` when there is no such role."""
    known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    if known.one_or_none() is None:
        raise RegistryInputError(f"PostgreSQL has no role {role!r}: CREATE ROLE it first, with LOGIN")
    driver = connection.connection.driver_connection
    assert driver is not None
    quoted, schema = (
        quote_ident(name, driver)
        for name in (role, connection.execute(text("SELECT current_schema()")).scalar_one())
    )
    for statement in (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {quoted}",
        f"GRANT USAGE ON SCHEMA {schema} TO {quoted}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {quoted}",
        *(f"GRANT INSERT ON {table} TO {quoted}" for table in _ADD),
        *(f"GRANT UPDATE ({columns}) ON {table} TO {quoted}" for table, columns in _CHANGE.items()),
        f"GRANT DELETE ON reply TO {quoted}",
        f"GRANT EXECUTE ON FUNCTION fingerprint_changelog_retain TO {quoted}",
    ):
        connection.exec_driver_sql(statement)
