"""The operating system account that runs the server, and whether it can reach a folder.

PostgreSQL refuses to run as root. A process that is root drops to an account without privileges in the child
(`postgres` where it exists, else `nobody`); any other process runs the server as itself. Permissions of
folders that we did not make are never changed: an unreachable one is an error that names it.
"""

import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from registry.errors import DataFolderError


class RunAs(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that drop privileges."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Who runs the server."""

    name: str
    uid: int
    gid: int
    dropped: bool  # True: we are root and the server is not

    @property
    def run_as(self) -> RunAs:
        """What `subprocess` needs to start a child as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.dropped else {}

    def make_private_folder(self, folder: Path) -> None:
        """Create `folder` (mode 0700, owned by the account) unless it is there already."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.dropped:
            os.chown(folder, self.uid, self.gid)

    def owns_private_folder(self, folder: Path) -> bool:
        """True for a folder (not a link to one) of this account that is closed to everyone else."""
        try:
            status = folder.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == self.uid and not status.st_mode & 0o077

    def require_reachable(self, path: Path, remedy: str) -> None:
        """Raise `DataFolderError` unless the account may enter every folder above `path`."""
        for folder in reversed(path.resolve().parents):
            if self.dropped and not self._may_enter(folder):
                raise DataFolderError(
                    f"{folder} cannot be entered by the account {self.name!r}, which runs PostgreSQL because "
                    f"PostgreSQL refuses to run as root: {remedy}, or run `chmod o+x {folder}`"
                )

    def can_reach(self, path: Path) -> bool:
        """Whether the account may enter every folder above `path`."""
        return not self.dropped or all(self._may_enter(folder) for folder in path.resolve().parents)

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_account() -> Account:
    """The account for the server of this process. Raises `DataFolderError` when there is none."""
    if os.geteuid() != 0:
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError as exc:
            raise DataFolderError(
                f"user id {os.geteuid()} has no name on this machine and PostgreSQL needs one: add it to "
                "/etc/passwd, or set EARMARK_DATABASE_URL"
            ) from exc
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, dropped=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, dropped=True)
    raise DataFolderError(
        "PostgreSQL refuses to run as root and neither the account 'postgres' nor 'nobody' exists: run as an "
        "ordinary user, or set EARMARK_DATABASE_URL"
    )


def private_socket_folder(account: Account) -> Path:
    """A fresh folder with a short path, mode 0700, owned by the account, for a socket.

    Its name is random, so that nobody can have made it before us. A server that is killed leaves it behind
    empty of all but the socket.
    """
    folder = Path(tempfile.mkdtemp(prefix="earmark-"))
    account.require_reachable(folder, "set TMPDIR to a folder it can reach")
    if account.dropped:
        os.chown(folder, account.uid, account.gid)
    return folder
