"""The migrations: repeatable, safe at once, equal to the models, and refusing a newer schema."""

import ast
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import migrations
from registry import tables
from registry.database import SCHEMA_REVISION, Database, schema_revision
from registry.errors import DatabaseUnsupported
from registry.postgres import EmbeddedServer
from tests.conftest import empty_database

FOLDER = Path(migrations.__file__).parent


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    newest = max(FOLDER.glob("versions/[0-9]*.py")).name
    assert newest.startswith(f"{SCHEMA_REVISION}_")


def test_the_tables_are_those_of_the_models(database: Database) -> None:
    """Each is written twice on purpose; a column in one of them only would fail in production first."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": _is_no_partition}
        )
        differences = compare_metadata(context, tables.Base.metadata)
    # Constraints and indexes live in the migration alone.
    wrong = [d for d in differences if not (isinstance(d, tuple) and d[0].startswith("remove_"))]
    assert wrong == []
    assert not [d for d in differences if isinstance(d, tuple) and d[0] in ("remove_table", "remove_column")]


def _is_no_partition(name: str | None, kind: str, _: object) -> bool:
    """Partitions are made by the insert that needs them."""
    return kind != "table" or not str(name).removeprefix("fingerprint_changelog_").isdigit()


def test_preparing_again_changes_nothing(database: Database) -> None:
    database.prepare()
    with database.transaction() as connection:
        assert schema_revision(connection) == SCHEMA_REVISION


PREPARE = "import sys; from registry.database import Database; Database(sys.argv[1]).prepare()"


def test_processes_that_migrate_at_once_do_it_once(embedded_server: EmbeddedServer) -> None:
    with empty_database(embedded_server) as url:
        command = [sys.executable, "-c", PREPARE, url]
        processes = [subprocess.Popen(command, cwd=FOLDER.parent) for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]


def test_threads_that_migrate_at_once_do_it_once(embedded_server: EmbeddedServer) -> None:
    """Alembic itself is not safe between threads."""
    errors: list[Exception] = []
    with empty_database(embedded_server) as url:

        def prepare() -> None:
            database = Database(url)
            try:
                database.prepare()
            except Exception as error:
                errors.append(error)
            finally:
                database.close()

        threads = [threading.Thread(target=prepare) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []


def test_a_schema_from_a_newer_release_is_refused(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnsupported, match="newer release"):
        database.prepare()


def test_codes_are_stored_uncompressed_outside_the_row(database: Database) -> None:
    statement = (
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 'fingerprint'::regclass AND attname = 'codes'"
    )
    with database.transaction() as connection:
        assert connection.execute(text(statement)).scalar_one() == "e"


def test_migrations_import_nothing_of_ours() -> None:
    """An old migration must do tomorrow what it did on the day it was written."""
    for file in FOLDER.rglob("*.py"):
        tree = ast.parse(file.read_text())
        names = [
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        ]
        names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {name.split(".")[0] for name in names} <= {"alembic", "sqlalchemy"}, file
