"""One PostgreSQL cluster folder: create it, start its server, see whether it runs, stop it.

Every function here runs under the data folder's start lock (registry/postgres/server.py). A server is
recognised by what cannot be stale: it answers on its socket, or a process has the cluster as its working
folder. The process number in postmaster.pid alone proves nothing, since numbers are reused.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg2

from audio.durable import sync_folder
from registry.errors import DataFolderError
from registry.postgres.account import Account, private_socket_folder
from registry.postgres.binaries import Binaries, copy_into, for_cluster

log = logging.getLogger(__name__)

SUPERUSER = "earmark"
PORT = 5432  # only part of the socket's name: there is no TCP
# A socket's path holds at most 107 bytes on Linux and 103 on macOS; the name `.s.PGSQL.5432.lock` takes 19.
SOCKET_FOLDER_BYTES = 84
SOCKET_FOLDER = re.compile(r"[\w/.+-]+", re.ASCII)  # commas and quotes mean something in the setting
# Crash recovery replays max_wal_size of log in seconds, but a slow disk may take long to sync every file.
START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 120.0
FAST_STOP = signal.SIGINT  # rolls back, writes a checkpoint
IMMEDIATE_STOP = signal.SIGQUIT  # as a crash, but for the processes: the next start recovers
PROGRESS_EVERY_S = 5.0
LOG_BYTES = 4 << 20
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "64MB",
    "max_connections": "60",  # 15 for each process that shares the folder, see registry/database.py
    "max_wal_size": "256MB",
    "maintenance_work_mem": "32MB",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


class Cluster:
    """The folder `postgres` of a data folder."""

    def __init__(self, data_dir: Path, account: Account) -> None:
        self.data_dir = data_dir
        self.account = account
        self.folder = data_dir / "postgres"
        self.path = self.folder / "cluster"
        self.log_file = data_dir / "postgres.log"
        self._is_stopping = False  # what the server last said of itself

    def ensure_created(self) -> Binaries:
        """Run initdb unless that was done; returns the programs for this cluster.

        The cluster gets its name only when it is whole: a crash before leaves a folder that the next call
        removes.
        """
        binaries = for_cluster(self.path)
        self.account.require_reachable(self.folder, "choose another --data-dir")
        self.account.make_private_folder(self.folder)
        binaries = self._within_reach(binaries)
        if not self.path.exists():
            self._initdb(binaries)
        owner = self.path.stat().st_uid
        if owner != self.account.uid:
            raise DataFolderError(
                f"{self.path} belongs to user id {owner}, but the server would run as {self.account.name!r}: "
                "run as the user who created the data folder, or choose another --data-dir"
            )
        return binaries

    def _within_reach(self, binaries: Binaries) -> Binaries:
        """The programs where the account can run them: the installed ones or a copy in this folder."""
        if self.account.can_reach(binaries.bin_dir / "postgres"):
            return binaries
        # Installed inside root's closed home, say; that home is not ours to open.
        return copy_into(self.folder, binaries, self.account)

    def _initdb(self, binaries: Binaries) -> None:
        for leftover in self.folder.glob("cluster.new-*"):
            shutil.rmtree(leftover)
        unfinished = self.folder / f"cluster.new-{secrets.token_hex(4)}"
        log.info("creating a PostgreSQL %d cluster in %s", binaries.major, self.path)
        command = [binaries.program("initdb"), "--pgdata", str(unfinished), "--username", SUPERUSER]
        command += ["--encoding=UTF8", "--no-locale", "--auth=peer", "--no-instructions"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            **self.account.run_as,
        )
        if done.returncode != 0:
            raise DataFolderError(
                f"could not create a PostgreSQL cluster in {self.folder}: {done.stderr.strip()}"
            )
        unfinished.rename(self.path)  # a crash after this leaves a whole cluster: initdb has synced its files
        sync_folder(self.folder)

    def start_or_attach(self, binaries: Binaries) -> Path:
        """Returns the socket folder of a server that answers; starts one unless it runs.

        Waits for a crash recovery or a shutdown that is under way, saying so every few seconds. Raises
        `DataFolderError` with the end of the server's log when it does not come up.
        """
        started_s = reported_s = time.monotonic()
        process: subprocess.Popen[bytes] | None = None
        while True:
            socket_folder = self.answering_socket()
            if socket_folder is not None:
                return socket_folder
            if process is not None and process.poll() is not None:
                raise DataFolderError(f"PostgreSQL did not start in {self.path}: {self._log_tail()}")
            if process is None and not self.inhabitants():
                process = self._spawn(binaries)
            now_s = time.monotonic()
            if now_s - started_s > START_TIMEOUT_S:
                raise DataFolderError(
                    f"PostgreSQL in {self.path} gave no answer for {START_TIMEOUT_S:.0f} s; "
                    f"its log ends with: {self._log_tail()}"
                )
            if process is None and self._is_stopping and now_s - started_s > STOP_TIMEOUT_S:
                # Whoever stopped it has gone, and it does not end by itself: see `stop`.
                pid = self._pid_in_file()
                if pid is not None and pid in self.inhabitants():
                    self._ends(pid, IMMEDIATE_STOP)
            if now_s - reported_s > PROGRESS_EVERY_S:
                log.warning("waiting for PostgreSQL in %s: %s", self.path, self._log_tail(1))
                reported_s = now_s
            time.sleep(0.02)

    def answering_socket(self) -> Path | None:
        """The socket folder of the running server, None while none accepts connections."""
        self._is_stopping = False
        folder = self._socket_in_use()
        if folder is None:
            return None
        try:
            connect(folder, self.account, "postgres").close()
        except psycopg2.OperationalError as exc:
            if "authentication failed" in str(exc) or "requirepeer" in str(exc):
                raise DataFolderError(f"the server in {self.path} is another user's: {exc}") from exc
            self._is_stopping = "is shutting down" in str(exc)
            return None
        return folder

    def inhabitants(self) -> list[int]:
        """The processes that run in this cluster, whoever started them; zombies do not count."""
        if Path("/proc/self/cwd").exists():
            return [pid for pid in _processes() if self._lives_here(pid)]
        pid = self._pid_in_file()
        return [pid] if pid is not None and _is_alive(pid) else []

    def stop(self) -> None:
        """Shut the server down, if one runs. Open transactions are rolled back.

        One that answers stops cleanly. One that does not is recovering from a crash, and is stopped at once:
        PostgreSQL 18.4 that is told to stop cleanly then may say "shutting down" for ever (found by
        benchmarks/registry_kills.py); the next start recovers in any case. A crash meanwhile leaves a server
        that is shutting down: the next start waits for its end.
        """
        pid = self._pid_in_file()
        if pid is None or pid not in self.inhabitants():
            return
        socket_folder = self._socket_in_use()
        answers = self.answering_socket() is not None
        if not ((answers and self._ends(pid, FAST_STOP)) or self._ends(pid, IMMEDIATE_STOP)):
            raise DataFolderError(
                f"PostgreSQL in {self.path} (process {pid}) does not stop: {self._log_tail()}"
            )
        if socket_folder is not None and socket_folder.parent != self.folder:
            with contextlib.suppress(OSError):
                socket_folder.rmdir()  # empty now; never more than one folder of ours

    def _ends(self, pid: int, how: signal.Signals) -> bool:
        """Send the signal; False when the server is still there after STOP_TIMEOUT_S."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while self.inhabitants():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.02)
        return True

    def _spawn(self, binaries: Binaries) -> "subprocess.Popen[bytes]":
        # Nobody lives in the cluster, so what this file says is stale; PostgreSQL would refuse to start if
        # its number had been given to another process of ours since.
        (self.path / "postmaster.pid").unlink(missing_ok=True)
        self._write_access_rules()
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_name("postgres.log.1"))
        settings = SETTINGS | {
            "unix_socket_directories": str(self._new_socket_folder()),
            "hba_file": str(self.data_dir / "pg_hba.conf"),
            "ident_file": str(self.data_dir / "pg_ident.conf"),
        }
        command = [binaries.program("postgres"), "-D", str(self.path), "-p", str(PORT)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt from the terminal is for us, not for the server
                **self.account.run_as,
            )
        # Reaps the server when it ends before us; it outlives us when others still use it.
        threading.Thread(target=process.wait, name="postgres-reaper", daemon=True).start()
        return process

    def _write_access_rules(self) -> None:
        user = _user_name().replace('"', '""')
        _write(self.data_dir / "pg_hba.conf", f"local all {SUPERUSER} peer map={SUPERUSER}\n")
        _write(self.data_dir / "pg_ident.conf", f'{SUPERUSER} "{user}" {SUPERUSER}\n')

    def _new_socket_folder(self) -> Path:
        folder = self.folder / "socket"
        if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES and SOCKET_FOLDER.fullmatch(str(folder)):
            self.account.make_private_folder(folder)
            return folder
        # The same one as before a crash, since other processes still look for the server there.
        recorded = self.data_dir / "socket_folder"
        if recorded.exists() and self.account.owns_private_folder(Path(recorded.read_text())):
            return Path(recorded.read_text())
        folder = private_socket_folder(self.account)
        _write(recorded, str(folder))
        return folder

    def _socket_in_use(self) -> Path | None:
        lines = self._postmaster_file()
        return Path(lines[4]) if len(lines) > 4 and lines[4] else None

    def _pid_in_file(self) -> int | None:
        lines = self._postmaster_file()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def _postmaster_file(self) -> list[str]:
        # Line 1 is the process, line 5 the socket folder; absent or short while the server starts.
        try:
            return (self.path / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _lives_here(self, pid: int) -> bool:
        try:
            return self.path.samefile(f"/proc/{pid}/cwd")
        except OSError:  # gone, a zombie, or another user's
            return False

    def _log_tail(self, num_lines: int = 5) -> str:
        try:
            return " / ".join(self.log_file.read_text(errors="replace").splitlines()[-num_lines:])
        except OSError:
            return "(no log)"


def connect(socket_folder: Path, account: Account, database: str) -> "psycopg2.extensions.connection":
    """A plain connection as the cluster's superuser; `requirepeer` makes sure who listens."""
    return psycopg2.connect(
        host=str(socket_folder), port=PORT, user=SUPERUSER, dbname=database, requirepeer=account.name
    )


def _environment() -> dict[str, str]:
    # Nothing of the caller's: PGPORT, PGDATA or a locale would change what the server does.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _processes() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole; readable by the server's account, which may not be its owner."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.chmod(0o644)
    unfinished.replace(path)
