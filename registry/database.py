"""The connection pool, transactions, the schema's version, and the border where driver errors become ours.

    with database.transaction() as connection: ...     # one request, one transaction; commits here only

A restart of the server is an ordinary event: a connection is tested before it is lent, and whatever fails
because the server is away is `DatabaseUnavailable`. PgBouncer must pool sessions, not transactions, since
owners hold session locks (registry/owner.py). Not covered: read replicas, retries; the caller knows whether
to try again.
"""

import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Connection, create_engine, exc, inspect, text
from sqlalchemy.engine import URL, make_url

from registry.errors import DatabaseUnavailable, DatabaseUnsupported

SCHEMA_REVISION = "0008"  # twin: the newest file in migrations/versions
OLDEST_SERVER = 15
POOL_CONNECTIONS = 10  # for worker threads; beside these one for the owner's lock
POOL_TIMEOUT_S = 10.0
# No statement of ours needs a minute, and none waits for its caller inside a transaction: what does hangs.
SESSION_SETTINGS = (
    "-c timezone=UTC -c synchronous_commit=on -c lock_timeout=30s "
    "-c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
)

NO_RIGHT = "42501"
READ_ONLY = "25006"  # a primary that became a standby
# It answers, and cannot: read-only, deadlock, disk or memory full, too many connections, a time-out.
CANNOT_NOW = (READ_ONLY, "40", "53", "55P03", "57014")

_migrating = threading.Lock()  # Alembic keeps the running migration in module globals


class Database:
    """One database with the registry's schema. Safe to share between threads, not across a fork."""

    def __init__(self, url: str, missed: Callable[[], None] | None = None) -> None:
        """Checks the URL's form only; nothing is connected yet. `missed` is called when the server does not
        answer, and may start it. Raises `DatabaseUnsupported`."""
        self.url = _parse(url)
        self._missed = missed
        self.engine = create_engine(
            self.url,
            pool_size=POOL_CONNECTIONS,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 10,
                "application_name": "earmark",
                "options": SESSION_SETTINGS,
                # A server that vanished without a word is noticed after a minute.
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside one transaction: committed when the block ends, rolled back when it raises.

        When this returns normally the commit is on disk. Raises `DatabaseUnavailable`.
        """
        with self.translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees the database as it was at its first statement, however long it reads.

        Holds back vacuum meanwhile, and writes nothing. Raises `DatabaseUnavailable`.
        """
        with self.translated(), self.engine.connect() as connection:
            reading = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with reading.begin():
                yield reading

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the driver raises when the server is away into `DatabaseUnavailable`, and what it raises
        when our role lacks a right into `DatabaseUnsupported`."""
        try:
            yield
        except exc.TimeoutError as error:
            raise DatabaseUnavailable(
                f"all {POOL_CONNECTIONS} database connections were busy for {POOL_TIMEOUT_S:.0f} s: try again"
            ) from error
        except exc.DBAPIError as error:
            code = getattr(error.orig, "pgcode", None)
            if code == NO_RIGHT:
                raise self._no_right(error.orig) from error
            away = isinstance(error, exc.OperationalError | exc.InterfaceError) or code == READ_ONLY
            if not (away or error.connection_invalidated):
                raise
            raise self._away(error.orig) from error
        except psycopg2.Error as error:
            # Of a connection that is taken back into the pool, unwrapped: its server died.
            if error.pgcode is not None:
                raise
            raise self._away(error) from error

    def _away(self, error: BaseException | None) -> DatabaseUnavailable:
        where, reason = self.url.render_as_string(hide_password=True), _first_line(error)
        if (getattr(error, "pgcode", None) or "").startswith(CANNOT_NOW):
            return DatabaseUnavailable(
                f"the database cannot do this now ({reason}): look at its disk and at what else uses it, "
                "then try again"
            )
        if self._missed is not None:
            self._missed()
        return DatabaseUnavailable(
            f"the database does not answer ({reason}): see that {where} runs, then try again"
        )

    def _no_right(self, error: BaseException | None) -> DatabaseUnsupported:
        return DatabaseUnsupported(
            f"the role in the database's URL lacks a right ({_first_line(error)}): run `earmark registry "
            f"grant {self.url.username or 'ROLE'}` with the URL of the role that owns the tables"
        )

    def prepare(self) -> None:
        """Check the server's version and bring the schema up to date. Safe for many processes at once.

        Raises `DatabaseUnsupported` when the server is too old or the schema is from a newer release.
        """
        with self.transaction() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
            if version < OLDEST_SERVER:
                raise DatabaseUnsupported(
                    f"PostgreSQL {version} is too old: the registry needs {OLDEST_SERVER} or newer"
                )
            if schema_revision(connection) == SCHEMA_REVISION:
                return
        self._migrate()

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        # Imported here since it takes 0.2 s and most opens have nothing to migrate.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        spec = importlib.util.find_spec("migrations")
        assert spec is not None and spec.submodule_search_locations
        config = Config()
        config.set_main_option("script_location", spec.submodule_search_locations[0].replace("%", "%%"))
        with _migrating, self.translated(), self.engine.connect() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except exc.ProgrammingError as error:
                if getattr(error.orig, "pgcode", None) != NO_RIGHT:
                    raise
                raise DatabaseUnsupported(
                    "the schema must be brought up to date by the role that owns it: run `earmark index "
                    "status` once with that role's URL, then `earmark registry grant`"
                ) from error
            except CommandError as error:
                raise DatabaseUnsupported(
                    f"the schema of this database was made by a newer release of earmark ({error}): "
                    "install that release or use another database"
                ) from error


def schema_revision(connection: Connection) -> str | None:
    """The newest migration this database has seen, None when it has seen none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise DatabaseUnsupported(
            "the database URL cannot be read: it looks like postgresql://user:password@host:5432/database"
        ) from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg2"):
        raise DatabaseUnsupported(
            f"the registry needs PostgreSQL, not {parsed.drivername}: give a URL that starts with postgresql://"
        )
    return parsed.set(drivername="postgresql+psycopg2")
