"""The embedded server, real and with durability on: start, share, die, recover, stop."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from registry.errors import DataFolderError
from registry.postgres import EmbeddedServer, cluster, stop
from registry.postgres.binaries import PACKAGE, Binaries, installed
from registry.postgres.cluster import Cluster, connect
from tests.conftest import reachable_folder

ATTACH_AND_WAIT = """
import sys
from pathlib import Path
from registry.postgres import EmbeddedServer
server = EmbeddedServer.attach(Path(sys.argv[1]))
print(*(server.cluster.path / "postmaster.pid").read_text().split()[:1], flush=True)
sys.stdin.read()
server.detach()
"""


@pytest.fixture(scope="module")
def cluster_folder() -> Iterator[Path]:
    """What initdb makes, once: it takes 0.5 s, and several on a busy machine."""
    with reachable_folder() as folder:
        with EmbeddedServer.attach(folder / "data"):
            pass
        yield folder / "data/postgres"


@pytest.fixture
def data_dir(data_dir: Path, cluster_folder: Path) -> Path:
    """A data folder whose cluster exists and whose server is stopped."""
    data_dir.mkdir()
    data_dir.chmod(0o711)
    subprocess.run(["cp", "-a", cluster_folder, data_dir], check=True)
    return data_dir


@contextmanager
def other_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that attaches, says so by a line, and detaches when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", ATTACH_AND_WAIT, str(data_dir)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(server: EmbeddedServer, statement: str) -> object:
    connection = connect(server.socket_folder, server.cluster.account, "earmark")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def soon(ask: Callable[[], object]) -> object:
    """What it answers as soon as the server does."""
    deadline_s = time.monotonic() + 30.0
    while True:
        try:
            return ask()
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres/cluster/postmaster.pid").read_text().splitlines()[0])


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}/cwd").is_dir()


def test_the_only_way_in_is_a_private_socket(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir) as server:
        assert run(server, "SHOW listen_addresses") == ("",)
        assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
        assert server.socket_folder.stat().st_uid == server.cluster.account.uid
        socket = server.socket_folder / ".s.PGSQL.5432"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_a_commit_is_durable_and_memory_is_modest(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert run(server, f"SHOW {setting}") == ("on",)
        assert run(server, "SHOW shared_buffers") == ("64MB",)


def test_the_last_one_out_stops_the_server(data_dir: Path) -> None:
    first, second = EmbeddedServer.attach(data_dir), EmbeddedServer.attach(data_dir)
    pid = postmaster(data_dir)
    first.detach()
    first.detach()  # again: must not count twice
    assert run(second, "SELECT 1") == (1,)
    second.detach()
    assert not is_running(pid)
    assert not (data_dir / "postgres/cluster/postmaster.pid").exists()


def test_the_server_outlives_the_process_that_started_it(data_dir: Path) -> None:
    with other_process(data_dir) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        with EmbeddedServer.attach(data_dir) as server:
            starter.communicate()  # ends its input: a clean detach
            assert starter.returncode == 0
            assert postmaster(data_dir) == pid
            assert run(server, "SELECT 1") == (1,)
        assert not is_running(pid)


def test_a_killed_last_user_leaves_a_server_that_the_next_one_joins_and_stops(data_dir: Path) -> None:
    """The published wrapper counts users in a file, so one kill -9 left its server running forever."""
    with other_process(data_dir) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        user.kill()
        user.wait()
    assert is_running(pid)
    with EmbeddedServer.attach(data_dir):
        assert postmaster(data_dir) == pid
    assert not is_running(pid)


def test_stop_ends_an_abandoned_server_and_spares_one_in_use(data_dir: Path) -> None:
    with other_process(data_dir) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        assert stop(data_dir) is False
        assert is_running(pid)
        user.kill()
        user.wait()
    assert stop(data_dir) is True
    assert not is_running(pid)
    assert stop(data_dir) is True


def test_stop_refuses_a_folder_that_is_not_ours(data_dir: Path) -> None:
    with pytest.raises(DataFolderError, match="not a data folder"):
        stop(data_dir)


def test_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    """Three of them meet an empty folder: one initdb, one server."""
    shutil.rmtree(data_dir / "postgres")
    with other_process(data_dir) as one, other_process(data_dir) as two, other_process(data_dir) as three:
        users = [one, two, three]
        lines = [user.stdout.readline().strip() for user in users if user.stdout is not None]
        assert lines == [str(postmaster(data_dir))] * 3
        for user in users:
            user.communicate()
    assert not (data_dir / "postgres/cluster/postmaster.pid").exists()


def test_a_killed_server_recovers_what_was_committed(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir) as server:
        run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster(data_dir), signal.SIGKILL)
        with EmbeddedServer.attach(data_dir) as again:  # while `server` still counts as a user
            assert run(again, "SELECT answer FROM kept") == (42,)


def test_a_server_that_was_killed_is_started_again_by_who_misses_it(data_dir: Path) -> None:
    """Once, however many threads miss it, and on the socket where all its users look for it."""
    with EmbeddedServer.attach(data_dir) as server:
        run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        killed = postmaster(data_dir)
        os.kill(killed, signal.SIGKILL)
        threads = [threading.Thread(target=server.revive_soon) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert soon(lambda: run(server, "SELECT answer FROM kept")) == (42,)
        assert postmaster(data_dir) != killed
        alive = postmaster(data_dir)
        server.revive_soon()
        time.sleep(0.5)
        assert postmaster(data_dir) == alive


def test_a_server_that_nobody_uses_any_more_is_not_started_again(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir) as server:
        pass
    server.revive_soon()
    time.sleep(0.5)
    assert not (data_dir / "postgres/cluster/postmaster.pid").exists()


def test_a_process_number_that_was_given_to_another_process_is_not_a_server(data_dir: Path) -> None:
    """After a reboot the number in postmaster.pid may belong to anyone, here to this test itself."""
    with EmbeddedServer.attach(data_dir):
        pass
    stale = data_dir / "postgres/cluster/postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1700000000\n5432\n{data_dir}/postgres/socket\n\n")
    with EmbeddedServer.attach(data_dir) as server:
        assert postmaster(data_dir) != os.getpid()
        assert run(server, "SELECT 1") == (1,)


def test_an_attach_during_a_shutdown_waits_and_starts_again(data_dir: Path) -> None:
    """A process killed while it stopped the server leaves one that is still shutting down."""
    with EmbeddedServer.attach(data_dir):
        pid = postmaster(data_dir)
        os.kill(pid, signal.SIGINT)
        with EmbeddedServer.attach(data_dir) as again:
            assert run(again, "SELECT 1") == (1,)
            assert postmaster(data_dir) != pid


def test_a_server_that_never_ends_its_shutdown_is_stopped_at_once(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL 18.4, told to stop while it recovers from a crash, may say "shutting down" for ever.

    Here a connection holds up the shutdown. Nobody could open the registry again without the remedy.
    """
    monkeypatch.setattr(cluster, "STOP_TIMEOUT_S", 1.0)
    server = EmbeddedServer.attach(data_dir)
    connection = connect(server.socket_folder, server.cluster.account, "postgres")
    first = int((server.cluster.path / "postmaster.pid").read_text().split()[0])
    os.kill(first, signal.SIGTERM)  # waits for connections to end
    with EmbeddedServer.attach(data_dir) as again:
        assert int((again.cluster.path / "postmaster.pid").read_text().split()[0]) != first
        connect(again.socket_folder, again.cluster.account, "postgres").close()
        connection.close()
        server.detach()


def test_a_server_that_does_not_answer_is_stopped_without_waiting(data_dir: Path) -> None:
    """As after a crash that its last user saw and left."""
    server = EmbeddedServer.attach(data_dir)
    connection = connect(server.socket_folder, server.cluster.account, "postgres")
    os.kill(int((server.cluster.path / "postmaster.pid").read_text().split()[0]), signal.SIGTERM)
    while server.cluster.answering_socket() is not None:
        time.sleep(0.01)
    server.detach()
    assert server.cluster.inhabitants() == []
    connection.close()


def test_a_server_that_ignores_its_stop_is_stopped_harder(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the first signal says nothing to it."""
    monkeypatch.setattr(cluster, "STOP_TIMEOUT_S", 3.0)
    monkeypatch.setattr(cluster, "FAST_STOP", signal.SIGCONT)
    server = EmbeddedServer.attach(data_dir)
    server.detach()
    assert server.cluster.inhabitants() == []


def test_an_interrupted_initdb_leaves_nothing_that_matters(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir) as server:
        account = server.cluster.account
    (data_dir / "postgres/cluster").rename(data_dir / "postgres/cluster.new-0000abcd")
    with EmbeddedServer.attach(data_dir) as server:
        assert run(server, "SELECT 1") == (1,)
        assert server.cluster.account == account
    assert [path.name for path in (data_dir / "postgres").glob("cluster*")] == ["cluster"]


def test_a_path_too_long_for_a_socket_works(data_dir: Path) -> None:
    """A socket's path holds 107 bytes; the published wrapper then used a folder open to everyone."""
    deep = data_dir / ("d" * 60) / ("e e" * 20) / "data"
    deep.parent.mkdir(parents=True)
    with EmbeddedServer.attach(deep) as server:
        assert not server.socket_folder.is_relative_to(deep)
        assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
        with EmbeddedServer.attach(deep) as joined:
            assert joined.socket_folder == server.socket_folder
        os.kill(postmaster(deep), signal.SIGKILL)
        with EmbeddedServer.attach(deep) as restarted:  # other users must find it where it was
            assert restarted.socket_folder == server.socket_folder
        assert run(server, "SELECT 1") == (1,)
        socket_folder = server.socket_folder
    assert not socket_folder.exists()


def test_a_cluster_of_an_unknown_major_version_is_named(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir):
        pass
    (data_dir / "postgres/cluster/PG_VERSION").write_text("12\n")
    with pytest.raises(
        DataFolderError, match=r"written by PostgreSQL 12, but the installed package holds \d+"
    ):
        EmbeddedServer.attach(data_dir)


def test_a_cluster_of_an_older_major_version_is_served_by_that_version(data_dir: Path) -> None:
    """The wheel's newest version changes; a registry made before must still open."""
    versions = installed()
    if len(versions) < 2:
        pytest.skip("the installed wheel holds one PostgreSQL version")
    with EmbeddedServer.attach(data_dir) as server:
        account = server.cluster.account
    older = data_dir.parent / "older"
    older.mkdir()
    older.chmod(0o711)
    cluster = Cluster(older, account)
    account.make_private_folder(cluster.folder)
    cluster._initdb(cluster._within_reach(versions[-1]))
    with EmbeddedServer.attach(older) as server:
        assert str(run(server, "SHOW server_version")[0]).startswith(f"{versions[-1].major}.")  # type: ignore[index]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_a_parent_folder_that_the_account_cannot_enter_is_named_and_left_alone(data_dir: Path) -> None:
    """The published wrapper opened every parent folder up to / instead."""
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DataFolderError) as error:
        EmbeddedServer.attach(closed / "data")
    assert f"{closed} cannot be entered" in str(error.value)
    assert f"chmod o+x {closed}" in str(error.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_programs_installed_where_the_account_cannot_go_are_copied(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root clones and installs into its own home, which is closed: the usual case inside a container."""
    newest = installed()[0]
    closed = data_dir.parent / "closed"
    shutil.copytree(newest.bin_dir.parent, closed / PACKAGE / newest.bin_dir.parent.name, symlinks=True)
    libraries = newest.bin_dir.parents[1].with_name(f"{PACKAGE}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    hidden = Binaries(closed / PACKAGE / newest.bin_dir.parent.name / "bin", newest.major)
    monkeypatch.setattr(cluster, "for_cluster", lambda _: hidden)
    for _ in range(2):  # the second start finds the copy
        with EmbeddedServer.attach(data_dir) as server:
            assert run(server, "SELECT 1")
        assert len(list((data_dir / "postgres").glob("programs-*"))) == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_file_in_place_of_the_data_folder_is_refused(data_dir: Path) -> None:
    file = data_dir / "file"
    file.write_text("")
    with pytest.raises(DataFolderError, match="not a folder"):
        EmbeddedServer.attach(file)


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    with EmbeddedServer.attach(data_dir):
        pass
    control = data_dir / "postgres/cluster/global/pg_control"
    control.rename(control.with_name("pg_control.lost"))
    started_s = time.monotonic()
    with pytest.raises(DataFolderError, match=r"did not start in .*pg_control"):
        EmbeddedServer.attach(data_dir)
    assert time.monotonic() - started_s < 10


def test_nothing_of_the_callers_environment_reaches_the_server(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with EmbeddedServer.attach(data_dir) as server:
        assert run(server, "SHOW port") == ("5432",)


def test_a_connection_under_another_name_is_refused(data_dir: Path) -> None:
    """Only the owner of the folder, and only as the registry's own database user."""
    with (
        EmbeddedServer.attach(data_dir) as server,
        pytest.raises(psycopg2.OperationalError, match="no pg_hba"),
    ):
        psycopg2.connect(host=str(server.socket_folder), user="postgres", dbname="earmark")
