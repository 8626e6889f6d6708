"""What every test may share: a data folder the embedded server can reach, and databases on one server.

`tmp_path` is closed to everyone else, and a server that was started by root runs as another account; so these
folders lie directly in the temporary folder and may be passed through. The server is real PostgreSQL and its
databases are built by running the migrations once, then copied: 20 to 50 ms for each test.
"""

import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest

from registry.database import Database
from registry.postgres import EmbeddedServer, stop
from registry.postgres.cluster import Cluster, connect

if TYPE_CHECKING:
    from registry import Registry

TEMPLATE = "earmark_template"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A fresh, empty data folder; a server that a test leaves behind is stopped."""
    with reachable_folder() as folder:
        data_dir = folder / "data"
        yield data_dir
        if (data_dir / "start.lock").exists():
            assert stop(data_dir), "the test left a process or a Registry that still uses the folder"


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedServer]:
    """One server for the whole session, with a migrated database to copy."""
    with reachable_folder() as folder, EmbeddedServer.attach(folder / "data") as server:
        with_template(server)
        yield server


def with_template(server: EmbeddedServer) -> None:
    """Make the migrated database that tests copy."""
    execute(server, f"CREATE DATABASE {TEMPLATE}")
    template = Database(server.url(TEMPLATE))
    template.prepare()
    template.close()


_numbers = itertools.count(1)


@contextmanager
def empty_database(server: EmbeddedServer, template: str = "template1") -> Iterator[str]:
    """The URL of a new database, by default one without any table; dropped at the end."""
    name = f"test_{next(_numbers)}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url(name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(embedded_server: EmbeddedServer) -> Iterator[str]:
    """The URL of a migrated database of this test's own, without rows."""
    with empty_database(embedded_server, TEMPLATE) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same database, opened."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def registry(database_url: str) -> "Iterator[Registry]":
    """An open registry without generations."""
    from registry import Registry  # loads the network: only for tests that ask for it

    with Registry.open(database_url) as registry:
        yield registry


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that the server's account may pass through."""
    path = Path(tempfile.mkdtemp(prefix="earmark-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def execute(server: EmbeddedServer, statement: str) -> None:
    connection = connect(server.socket_folder, server.cluster.account, "postgres")
    try:
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def stop_at_once(cluster: Cluster) -> None:
    """What `pg_ctl stop -m immediate` does; returns when nothing of the server is left.

    The server is named by its own file: when process numbers have wrapped around, its children have the
    smaller ones.
    """
    os.kill(int((cluster.path / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    deadline = time.monotonic() + 60
    while cluster.inhabitants():
        assert time.monotonic() < deadline, "the server does not stop"
        time.sleep(0.02)
