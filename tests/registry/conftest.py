"""The registry's tests run on the embedded PostgreSQL and on Debian's PostgreSQL 15, the oldest supported."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.postgres import EmbeddedServer, cluster
from registry.postgres.binaries import Binaries
from tests.conftest import TEMPLATE, empty_database, reachable_folder, with_template

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def debian_server() -> Iterator[EmbeddedServer]:
    """Reached by its URL as any other server; only starting it is as with the embedded one."""
    if not (DEBIAN_15 / "initdb").exists():
        pytest.skip(f"no PostgreSQL 15 in {DEBIAN_15}: apt-get install postgresql")
    with reachable_folder() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster, "for_cluster", lambda _: Binaries(DEBIAN_15, 15))
        with EmbeddedServer.attach(folder / "data") as server:
            patched.undo()
            with_template(server)
            yield server


@pytest.fixture(params=["embedded_server", "debian_server"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database of this test's own, without rows, on each kind of server."""
    with empty_database(request.getfixturevalue(request.param), TEMPLATE) as url:
        yield url
