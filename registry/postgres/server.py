"""Share one embedded server between processes: the first starts it, the last one out stops it.

Users are counted by the kernel: each holds `users.lock` shared for as long as it lives, and who can get it
exclusively is alone. No list of processes, so nothing goes stale when one is killed. A server that ends under
its users, killed for want of memory say, is started again by the first of them that misses it.

What a crash leaves, step by step:
  attach (1) before the server runs: nothing; (2) after: a running server, which the next process attaches to
  and the last clean `detach` stops, or `stop(data_dir)`;
  detach (3) before the stop: as (2); (4) while it stops: a server that ends by itself; the next attach waits;
  revive: as attach.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy

from registry.errors import DataFolderError
from registry.postgres.account import Account, server_account
from registry.postgres.cluster import PORT, SUPERUSER, Cluster, connect

log = logging.getLogger(__name__)

DATABASE = "earmark"
REVIVE_EVERY_S = 5.0  # at most: what ends each time it is started is left to who reads the log
LOCK_TIMEOUT_S = 660.0  # longer than a start may take: cluster.START_TIMEOUT_S


class EmbeddedServer:
    """A running server that this object uses. Safe to share between threads."""

    def __init__(self, cluster: Cluster, socket_folder: Path, users_lock: int) -> None:
        self.cluster = cluster
        self.socket_folder = socket_folder
        self._users_lock: int | None = users_lock
        self._reviving = threading.Lock()
        self._revived_s = -REVIVE_EVERY_S

    @classmethod
    def attach(cls, data_dir: Path) -> Self:
        """Start the server of this folder or join the one that runs; creates folder and cluster when needed.

        Returns when the server answers and its database exists: measured 2026-11, two cores, 0.6 s the first
        time and 0.05 s later; after a power failure as long as crash recovery takes. Raises
        `DataFolderError`.
        """
        account = server_account()
        data_dir = _prepare(data_dir, account)
        with exclusive(data_dir / "start.lock"):
            users_lock = _open_lock(data_dir / "users.lock")
            try:
                fcntl.flock(users_lock, fcntl.LOCK_SH)  # does not wait: exclusive only under the start lock
                cluster = Cluster(data_dir, account)
                binaries = cluster.ensure_created()  # (1)
                socket_folder = cluster.start_or_attach(binaries)  # (2)
                _ensure_database(socket_folder, account)
            except BaseException:
                os.close(users_lock)
                raise
        return cls(cluster, socket_folder, users_lock)

    def url(self, database: str = DATABASE) -> str:
        """A SQLAlchemy URL. It holds no secret: the socket's folder and the peer's identity are the guard."""
        url = sqlalchemy.URL.create(
            "postgresql+psycopg2",
            username=SUPERUSER,
            database=database,
            query={
                "host": str(self.socket_folder),
                "port": str(PORT),
                "requirepeer": self.cluster.account.name,
            },
        )
        return url.render_as_string(hide_password=False)

    def revive_soon(self) -> None:
        """Start the server again if it has ended, in a thread: for whoever finds that it does not answer.

        Returns at once. Does nothing while that is under way, was tried a moment ago, or after `detach`.
        """
        if self._users_lock is None or not self._reviving.acquire(blocking=False):
            return
        if time.monotonic() - self._revived_s < REVIVE_EVERY_S:
            self._reviving.release()
            return
        try:
            threading.Thread(target=self._revive, name="postgres-revival", daemon=True).start()
        except (
            RuntimeError
        ) as exc:  # no memory for a thread: who asked must still hear that the server is away
            self._reviving.release()
            log.warning("PostgreSQL cannot be started again yet: %s", exc)

    def _revive(self) -> None:
        try:
            with exclusive(self.cluster.data_dir / "start.lock"):
                if self._users_lock is not None and self.cluster.answering_socket() is None:
                    log.warning("PostgreSQL in %s does not answer: starting it again", self.cluster.path)
                    self.cluster.start_or_attach(self.cluster.ensure_created())
                    log.warning("PostgreSQL in %s answers again", self.cluster.path)
        except DataFolderError:
            log.exception("PostgreSQL could not be started again; it is tried again when it is missed next")
        finally:
            self._revived_s = time.monotonic()
            self._reviving.release()

    def detach(self) -> None:
        """Leave; stops the server when nobody else uses it. Close every connection first. Safe to repeat."""
        users_lock, self._users_lock = self._users_lock, None
        if users_lock is None:
            return
        try:
            with exclusive(self.cluster.data_dir / "start.lock"):
                if _try_exclusive(users_lock):
                    self.cluster.stop()  # (3) (4)
        finally:
            os.close(users_lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()


def stop(data_dir: Path) -> bool:
    """Stop a server that killed processes left running; False when processes still use it.

    True also when none ran. Raises `DataFolderError` when this is not a data folder or the server hangs.
    """
    data_dir = data_dir.resolve()
    if not (data_dir / "start.lock").exists():
        raise DataFolderError(f"{data_dir} is not a data folder: there is no start.lock in it")
    with exclusive(data_dir / "start.lock"):
        users_lock = _open_lock(data_dir / "users.lock")
        try:
            if not _try_exclusive(users_lock):
                return False
            Cluster(data_dir, server_account()).stop()
        finally:
            os.close(users_lock)
    return True


def _prepare(data_dir: Path, account: Account) -> Path:
    data_dir = data_dir.expanduser().resolve()
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            # The server's account must pass through; nobody else needs to look inside.
            data_dir.chmod(0o711 if account.dropped else 0o700)
    except OSError as exc:
        raise DataFolderError(f"cannot create the data folder {data_dir}: {exc.strerror}") from exc
    if not data_dir.is_dir():
        raise DataFolderError(f"{data_dir} is not a folder: choose another --data-dir")
    return data_dir


def _ensure_database(socket_folder: Path, account: Account) -> None:
    # Made on first use and not with the cluster: a crash between the two is repaired by the next attach.
    connection = connect(socket_folder, account, "postgres")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        connection.close()


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise DataFolderError(
            f"cannot open {path}: {exc.strerror}; run as the user who created the data folder, "
            "or choose another --data-dir"
        ) from exc


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file that one process at a time may hold. Raises `DataFolderError` after LOCK_TIMEOUT_S."""
    descriptor = _open_lock(path)
    try:
        started_s = reported_s = time.monotonic()
        while not _try_exclusive(descriptor):
            now_s = time.monotonic()
            if now_s - started_s > LOCK_TIMEOUT_S:
                raise DataFolderError(f"another process has held {path} for {LOCK_TIMEOUT_S:.0f} s")
            if now_s - reported_s > 5.0:
                log.warning("waiting for another process that starts or stops PostgreSQL (%s)", path)
                reported_s = now_s
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
