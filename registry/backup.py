"""Copy the whole database into one file, and make a database of such a file.

    backup(location, file)      while the service runs: one snapshot, everything committed before it
    restore(location, file)     into a data folder or database that holds no registry yet

The programs are `pg_dump` and `pg_restore` of the package that the embedded server comes from, in the oldest
version that knows the server's; the file is theirs (custom format), so that any PostgreSQL can read it
without us. Both run as this user and read the password from the environment, never from their arguments.

What a crash leaves: `backup` (1) while dumping: a hidden `.part` file; (2) after the rename: the backup.
`restore` (1) while restoring, one transaction: the empty database; (2) before the new identity: a whole
registry under its old identity, which `restore` then refuses: give it another, empty database.
Not covered: key files, which belong elsewhere (docs/operations.md); rights, which `registry grant` gives
again.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.engine import URL

from audio.durable import sync_folder
from registry.database import OLDEST_SERVER, Database
from registry.errors import DatabaseUnsupported, RegistryInputError
from registry.postgres import EmbeddedServer, binaries
from registry.tables import IdentityRow

DUMPED_FROM = re.compile(r"^;\s+Dumped from database version: (\d+)", re.MULTILINE)  # of pg_restore --list


def backup(location: Path | str, file: Path) -> int:
    """Write `file`, in place of what was there; returns its bytes. The database stays as it is, one of an
    older release too. Raises `RegistryInputError` with what pg_dump says, or when there is no registry;
    `DatabaseUnavailable`, `DataFolderError`."""
    with _opened(location) as database:
        partial = file.with_name(f".{file.name}.part")
        try:
            _run("pg_dump", database, "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}")
            _require_registry(partial, "there is no registry to back up: is it the right place?")
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(file)  # (2)
            sync_folder(file.parent)
        except OSError as exc:
            raise RegistryInputError(f"the backup cannot be written to {file}: {exc.strerror}") from exc
        finally:
            partial.unlink(missing_ok=True)
    return file.stat().st_size


def restore(location: Path | str, file: Path) -> int:
    """Returns how many generations there are now. The registry gets a new identity, so that no index made
    before is taken for its own. Raises as `backup`, and `RegistryInputError` when something is there."""
    if not file.is_file():
        raise RegistryInputError(f"{file}: there is no such backup")
    with _opened(location) as database:
        with database.transaction() as connection:
            if inspect(connection).get_table_names():
                raise RegistryInputError("the database is not empty: restore into a new one")
        _require_registry(file, f"{file} is a backup of something else, not of a registry")
        try:  # (1)
            _run("pg_restore", database, "--no-owner", "--single-transaction", "--exit-on-error", str(file))
        except RegistryInputError as exc:
            raise _explained(database, file, exc) from exc
        with database.transaction() as connection:
            connection.execute(text("UPDATE registry_identity SET registry_id = gen_random_uuid()"))
        database.prepare()  # a backup of an older release
        with database.transaction() as connection:
            num_generations: int = connection.execute(text("SELECT count(*) FROM generation")).scalar_one()
    return num_generations


@contextmanager
def _opened(location: Path | str) -> Iterator[Database]:
    server = None if "://" in str(location) else EmbeddedServer.attach(Path(location))
    try:
        database = Database(server.url() if server else str(location))
        try:
            yield database
        finally:
            database.close()
    finally:
        if server is not None:
            server.detach()


def _require_registry(file: Path, otherwise: str) -> None:
    """Raises `RegistryInputError` when the file cannot be read back, or holds no registry."""
    if f" {IdentityRow.__tablename__} " not in _list(file):
        raise RegistryInputError(otherwise)


def _explained(database: Database, file: Path, failed: RegistryInputError) -> RegistryInputError:
    """Why it failed, where that is known: a dump may say what an older server does not understand."""
    made_by, server = DUMPED_FROM.search(_list(file)), _major(database)
    if made_by is None or int(made_by[1]) <= server:
        return failed
    return RegistryInputError(
        f"{file} is a backup of PostgreSQL {made_by[1]}, which PostgreSQL {server} cannot read: restore it "
        f"into a server of version {made_by[1]} or newer, or into a new data folder, whose server is version "
        f"{binaries.installed()[0].major} ({failed})"
    )


def _list(file: Path) -> str:
    """The table of contents; the newest program reads what any older one wrote."""
    return _output([binaries.installed()[0].program("pg_restore"), "--list", str(file)])


def _major(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def _run(program: str, database: Database, *arguments: str) -> str:
    major = _major(database)
    chosen = [one for one in binaries.installed() if one.major >= max(major, OLDEST_SERVER)]
    if not chosen:
        raise DatabaseUnsupported(f"no {program} here knows PostgreSQL {major}: use that server's own")
    command = [chosen[-1].program(program), f"--dbname={_conninfo(database.url)}", *arguments]
    return _output(command, database.url.password or "")


def _output(command: list[str], password: str = "") -> str:
    environment = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": password}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RegistryInputError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _conninfo(url: URL) -> str:
    return url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
