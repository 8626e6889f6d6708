"""GET /readyz: each part broken for real is noticed, named, and nothing else with it; mended, it is ready."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from api.access.secret import ServerSecret
from registry.log import LogFiles
from registry.log.signer import Signer
from registry.postgres.server import exclusive
from tests.api.conftest import Server, serving
from watermark import Key

PARTS = {"key", "database", "index", "log", "disk"}
Break = Callable[[Server, Path], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def victim() -> Iterator[Server]:
    """Not the session's server: what goes wrong here must not go wrong there."""
    with serving() as server:
        yield server


@contextmanager
def instead(path: Path, other: Path | None) -> Iterator[None]:
    """Another file in place of `path`; None: none."""
    kept = path.rename(path.with_name("kept"))
    try:
        if other is not None:
            other.rename(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        kept.rename(path)


def without(name: str) -> Break:
    return lambda server, _: instead(server.service.settings.data_dir / "keys" / name, None)


def with_another_watermark_key(server: Server, folder: Path) -> AbstractContextManager[None]:
    Key.create(folder / "other")
    return instead(server.service.settings.key_path, folder / "other")


def with_another_secret(server: Server, folder: Path) -> AbstractContextManager[None]:
    ServerSecret.load_or_create(folder / "other")
    return instead(server.service.settings.server_secret_path, folder / "other")


def with_another_log_key(server: Server, folder: Path) -> AbstractContextManager[None]:
    other = LogFiles.in_folder(folder)
    Signer.load_or_create(other)
    return instead(server.service.settings.data_dir / "keys" / "log.key", other.key)


@contextmanager
def with_a_key_that_all_may_read(server: Server, _: Path) -> Iterator[None]:
    path = server.service.settings.key_path
    path.chmod(0o644)
    try:
        yield
    finally:
        path.chmod(0o600)


@contextmanager
def without_a_changelog(server: Server, _: Path) -> Iterator[None]:
    """Nothing else reads it: the database answers, and the index cannot follow."""
    url = server.service.registry._database.url
    run(url, "ALTER TABLE fingerprint_changelog RENAME TO away")
    try:
        yield
    finally:
        run(url, "ALTER TABLE away RENAME TO fingerprint_changelog")


@contextmanager
def without_a_checkpoint(server: Server, _: Path) -> Iterator[None]:
    with instead(server.service.settings.data_dir / "log" / "checkpoint", None):
        yield


@contextmanager
def without_connections(server: Server, _: Path) -> Iterator[None]:
    url = server.service.registry._database.url
    maintenance = url.set(database="postgres")
    run(maintenance, f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
    run(
        maintenance,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'",
    )
    try:
        yield
    finally:
        run(maintenance, f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS true')


def run(url: URL, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


BROKEN: dict[str, tuple[Break, set[str]]] = {
    "the watermark key is gone": (without("watermark.key"), {"key"}),
    "the server's secret is gone": (without("server.secret"), {"key"}),
    "the log's key is gone": (without("log.key"), {"key"}),
    "another watermark key": (with_another_watermark_key, {"key"}),
    "another secret": (with_another_secret, {"key"}),
    "another key of the log": (with_another_log_key, {"key"}),
    "a key that all may read": (with_a_key_that_all_may_read, {"key"}),
    "the index cannot follow": (without_a_changelog, {"index"}),
    "the checkpoint is gone": (without_a_checkpoint, {"log"}),
    "the signer's record is gone": (without("log.signed"), {"log"}),
    "the database takes no connection": (without_connections, {"database", "index"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_and_nothing_else(victim: Server, tmp_path: Path, name: str) -> None:
    """An index that could not be followed for another reason than the database was a 500."""
    broken, parts = BROKEN[name]
    assert victim.anonymous.get("/readyz").status_code == 200
    with broken(victim, tmp_path):
        answer = victim.anonymous.get("/readyz")
        assert victim.anonymous.get("/livez").status_code == 200
    assert answer.status_code == 503, answer.text
    said = answer.json()
    assert said["status"] == "not ready"
    assert {part for part in PARTS if said["checks"][part] != "ok"} == parts
    assert_tells_strangers_nothing(victim, answer.text)
    mended = victim.anonymous.get("/readyz")
    assert mended.status_code == 200, mended.text


def assert_tells_strangers_nothing(server: Server, text: str) -> None:
    url = server.service.registry._database.url
    for secret in (str(server.service.settings.data_dir), url.render_as_string(), "postgresql", ".key"):
        assert secret not in text, secret


def test_a_request_that_needs_the_database_tells_as_little(
    victim: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error's own sentence has the database's address and user; it is for the operator, in the log."""
    with without_connections(victim, tmp_path):
        answer = victim.anonymous.get(f"/v1/generations/{uuid.uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert_tells_strangers_nothing(victim, answer.text)
    assert "the database does not answer" in caplog.text


def test_too_little_room_on_the_disk_is_not_ready() -> None:
    """PostgreSQL stops when it cannot write its own log: traffic has to go elsewhere before."""
    with serving(min_free_disk_bytes=2**62) as full:
        answer = full.anonymous.get("/readyz")
        assert answer.status_code == 503
        assert [part for part in PARTS if answer.json()["checks"][part] != "ok"] == ["disk"]
        assert "EARMARK_MIN_FREE_DISK_BYTES" in answer.json()["checks"]["disk"]
        assert_tells_strangers_nothing(full, answer.text)


def test_a_database_that_died_comes_back_by_itself(victim: Server) -> None:
    """Not ready and 503 with Retry-After meanwhile; what was answered before is found afterwards."""
    marked = victim.mark("kathleen_1")
    data_dir = victim.service.settings.data_dir
    with exclusive(data_dir / "start.lock"):  # until both were asked
        os.kill(int((data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        away = victim.anonymous.get("/readyz")
        asked = victim.anonymous.get(f"/v1/generations/{uuid.uuid4()}")
    assert away.status_code == asked.status_code == 503
    assert away.json()["checks"]["database"] != "ok"
    assert asked.headers["Retry-After"]
    deadline_s = time.monotonic() + 120
    while victim.anonymous.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    found = victim.detect(marked.data)
    assert marked.generation_id in str(found)
    assert victim.mark("kerstin_1").generation_id != marked.generation_id
