"""Backup and restore, between data folders, databases and server versions."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from audio import decode
from registry import Registry, RegistryInputError
from registry.backup import _run, backup, restore
from registry.database import Database
from registry.postgres import EmbeddedServer
from registry.postgres.binaries import installed
from tests.conftest import empty_database

CLIP = Path(__file__).parents[1] / "assets/amelia.flac"
TABLES = (
    "generation",
    "fingerprint",
    "fingerprint_changelog",
    "log_entry",
    "log_salt",
    "api_key",
    "fp_model",
)


def content(url: str) -> dict[str, list[str]]:
    database = Database(url)
    with database.transaction() as connection:
        rows = {
            table: sorted(connection.execute(text(f"SELECT x::text FROM {table} x")).scalars().all())
            for table in TABLES
        }
    database.close()
    return rows


def test_a_backup_becomes_the_same_registry_again(
    database_url: str, embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    """From each server into the embedded one; and what is written afterwards goes on as before."""
    file = tmp_path / "registry.backup"
    with Registry.open(database_url) as registry:
        generation_id = registry.register(decode(CLIP).wav_T, 24_000, {"voice": "ä"})
        size = backup(database_url, file)
        registry.register(decode(CLIP).wav_T[:48_000], 24_000)
    assert size == file.stat().st_size
    with empty_database(embedded_server) as url:
        assert restore(url, file) == 1
        restored = content(url)
        with Registry.open(url) as registry:
            found = registry.match(decode(CLIP).wav_T[36_000:132_000], 24_000)
            assert [match.generation_id for match in found.matches] == [generation_id]
            assert registry.index.check().passed
            registry.register(decode(CLIP).wav_T, 24_000)
            assert registry.index.check().passed
        with pytest.raises(RegistryInputError, match="not empty"):
            restore(url, file)
    original = content(database_url)
    for table in TABLES:
        assert set(restored[table]) <= set(original[table]), table
        assert restored[table] or table == "api_key"


def test_a_restored_registry_takes_no_index_made_before(
    embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    """Its positions will be given to other windows from here on."""
    with empty_database(embedded_server) as url, empty_database(embedded_server) as other:
        Registry.open(url, index_dir=tmp_path / "index").close()
        backup(url, tmp_path / "file")
        restore(other, tmp_path / "file")
        Registry.open(other, index_dir=tmp_path / "index").close()
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_a_data_folder_is_backed_up_and_restored(data_dir: Path, tmp_path: Path) -> None:
    """Without a server that anybody started."""
    with Registry.open(data_dir) as registry:
        generation_id = registry.register(decode(CLIP).wav_T, 24_000)
        backup(data_dir, tmp_path / "file")
    assert restore(data_dir.with_name("again"), tmp_path / "file") == 1
    with Registry.open(data_dir.with_name("again"), log_files=None) as registry:
        assert registry.generation(generation_id).state == "complete"


@pytest.mark.parametrize("damage", ["truncated", "not a backup", "missing"])
def test_a_backup_that_is_none_leaves_the_database_empty(
    embedded_server: EmbeddedServer, database_url: str, tmp_path: Path, damage: str
) -> None:
    """So that the next, good one can be restored into it."""
    file = tmp_path / "file"
    with Registry.open(database_url) as registry:
        registry.register(decode(CLIP).wav_T, 24_000)
    backup(database_url, file)
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) * 2 // 3] if damage == "truncated" else b"PGDMP nothing")
    with empty_database(embedded_server) as url:
        with pytest.raises(RegistryInputError):
            restore(url, file)
        file.write_bytes(whole)
        assert restore(url, file) == 1


def test_a_backup_that_cannot_be_written_is_one_error(database_url: str, tmp_path: Path) -> None:
    """And the file that was there before stays."""
    with pytest.raises(RegistryInputError):
        backup(database_url, tmp_path / "no" / "such" / "folder")


def test_where_no_registry_is_nothing_is_backed_up(embedded_server: EmbeddedServer, tmp_path: Path) -> None:
    """A folder or database that was named wrongly must not look like a backup that was made."""
    with empty_database(embedded_server) as url:
        with pytest.raises(RegistryInputError, match="no registry to back up"):
            backup(url, tmp_path / "file")
        database = Database(url)
        with database.transaction() as connection:
            assert not inspect(connection).get_table_names()
        database.close()
    assert not list(tmp_path.iterdir())


def test_a_backup_of_something_else_is_not_restored(embedded_server: EmbeddedServer, tmp_path: Path) -> None:
    """And the database stays empty."""
    with empty_database(embedded_server) as url, empty_database(embedded_server) as other:
        database = Database(other)
        with database.transaction() as connection:
            connection.execute(text("CREATE TABLE something_else ()"))
        _run("pg_dump", database, "--format=custom", f"--file={tmp_path / 'file'}")
        database.close()
        with pytest.raises(RegistryInputError, match="not of a registry"):
            restore(url, tmp_path / "file")
        Registry.open(url).close()


def test_a_backup_of_a_newer_server_says_where_it_can_be_restored(
    embedded_server: EmbeddedServer, debian_server: EmbeddedServer, tmp_path: Path
) -> None:
    """What pg_restore says of it is "unsupported version (1.16) in file header"."""
    with empty_database(embedded_server) as url, empty_database(debian_server) as older:
        Registry.open(url).close()
        backup(url, tmp_path / "file")
        newer = installed()[0].major
        said = rf"backup of PostgreSQL {newer}, which PostgreSQL 15 cannot read: .* {newer} or newer"
        with pytest.raises(RegistryInputError, match=said):
            restore(older, tmp_path / "file")
        database = Database(older)
        with database.transaction() as connection:
            assert not inspect(connection).get_table_names()
        database.close()
