"""An old backup comes back: of the database, of the tiles, of the whole data folder. What was signed since is
never signed differently, and who restored is told why.

The record of the last signed tree is what tells; it must not be in the same backup.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from registry import Registry
from registry.backup import backup, restore
from registry.database import Database
from registry.errors import LogRefused
from registry.log import LogFiles, TransparencyLog
from registry.log.check import check
from registry.postgres import EmbeddedServer
from registry.records import NewGeneration
from tests.conftest import empty_database
from tests.registry.log.conftest import assert_sound, begin, edit, fill

NEW = NewGeneration("test", "1", "none", 24_000)


def test_a_database_restored_from_an_old_backup_is_refused_by_name(
    database_url: str, embedded_server: EmbeddedServer, files: LogFiles, tmp_path: Path
) -> None:
    """`earmark registry backup`, more generations, `earmark registry restore`: they would get the indexes of
    those that are missing. Nothing is given an index, signed or published, and the check names it."""
    file = tmp_path / "registry.backup"
    with Registry.open(database_url, log_files=files) as registry:
        registry.log.wait(registry.begin(NEW).generation_id)
        backup(database_url, file)
        lost = registry.log.wait(registry.begin(NEW).generation_id)
    published = files.signed.read_bytes()
    with empty_database(embedded_server) as url:
        assert restore(url, file) == 1
        with Registry.open(url, log_files=files) as registry:
            generation = registry.begin(NEW)
            with pytest.raises(LogRefused, match="1 log entries and 2 were signed: an old backup"):
                registry.log.wait(generation.generation_id)
            (said, *_) = registry.check_log()
            assert "an old backup came back" in said
            assert registry.log.checkpoint() == files.signed.read_bytes() == published
            entry = registry.log.entries_of([generation.generation_id])[0]
            assert entry.log_index is None, "an index was given twice"
            lost.verify(registry.log.signer.trust)


def test_a_backup_of_now_goes_on_where_the_log_stood(
    database_url: str, embedded_server: EmbeddedServer, files: LogFiles, tmp_path: Path
) -> None:
    """The refusal is of old backups and not of backups: one that has every signed entry is the same log."""
    file = tmp_path / "registry.backup"
    with Registry.open(database_url, log_files=files) as registry:
        before = registry.log.wait(registry.begin(NEW).generation_id)
        registry.begin(NEW)  # its entry still waits
        backup(database_url, file)
    with empty_database(embedded_server) as url:
        assert restore(url, file) == 2
        with Registry.open(url, log_files=files) as registry:
            after = registry.log.wait(registry.begin(NEW).generation_id)
            assert after.index > before.index
            assert registry.check_log() == []


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_data_folder_copied_back_is_refused_when_the_record_was_elsewhere(
    data_dir: Path, tmp_path: Path, elsewhere: bool
) -> None:
    """`EARMARK_LOG_SIGNED_FILE`: with the record inside, the folder agrees with itself and nobody can tell.
    That is why it belongs on another disk; a monitor or a witness still notices."""
    files = LogFiles.in_folder(data_dir, tmp_path / "other disk" / "log.signed" if elsewhere else None)
    copy = data_dir.with_name("copy")
    with Registry.open(data_dir, log_files=files) as registry:
        registry.log.wait(registry.begin(NEW).generation_id)
    subprocess.run(["cp", "-a", data_dir, copy], check=True)
    with Registry.open(data_dir, log_files=files) as registry:
        lost = registry.log.wait(registry.begin(NEW).generation_id)
    shutil.rmtree(data_dir)
    copy.rename(data_dir)
    with Registry.open(data_dir, log_files=files) as registry:
        generation = registry.begin(NEW)
        if not elsewhere:
            assert registry.log.wait(generation.generation_id).index <= lost.index, "two logs from here on"
            return
        with pytest.raises(LogRefused, match="an old backup came back"):
            registry.log.wait(generation.generation_id)
        assert any("an old backup came back" in problem for problem in registry.check_log())
        lost.verify(registry.log.signer.trust)


def test_an_old_backup_of_the_database_is_refused_by_name(database: Database, log: TransparencyLog) -> None:
    """The rows of the last entries are gone, as after a restore; new ones would take the same indexes."""
    begin(database, 5)
    log.run_batch()
    published = log.checkpoint()
    edit(database, "DELETE FROM log_entry WHERE log_index >= 3")
    [generation] = begin(database)
    with pytest.raises(LogRefused, match="an old backup came back"):
        log.wait(generation.generation_id)
    assert log.checkpoint() == published
    assert any("old backup" in problem for problem in check(database, log))


def test_an_old_backup_that_was_written_on_is_refused_by_name(
    database: Database, log: TransparencyLog
) -> None:
    """Restored, then sequenced by somebody with another folder: same size, another past. Never signed."""
    begin(database, 5)
    log.run_batch()
    for path in log.folder.root.glob("**/*"):
        if path.is_file():
            path.unlink()
    edit(
        database,
        "UPDATE log_entry SET leaf = convert_to('{\"kind\":\"generation\"}', 'utf8') WHERE log_index = 2",
    )
    begin(database)
    with pytest.raises(LogRefused, match="not those that were signed"):
        log.run_batch()
    assert log.folder.checkpoint() is None


def test_lost_tiles_are_written_again_from_the_database(database: Database, log: TransparencyLog) -> None:
    """Whatever is under `tile` follows from the rows; the signer compares it with what it signed."""
    [generation] = begin(database)
    fill(database, 300)
    receipt = log.wait(generation.generation_id)
    files = {path: path.read_bytes() for path in log.folder.root.glob("**/*") if path.is_file()}
    for path in files:
        path.unlink()
    begin(database)
    log.run_batch()
    assert_sound(database, log)
    receipt.verify(log.signer.trust)


def test_an_old_backup_of_the_tiles_is_brought_up_to_date(database: Database, log: TransparencyLog) -> None:
    begin(database, 3)
    log.run_batch()
    old = log.folder.checkpoint()
    assert old is not None
    begin(database, 3)
    log.run_batch()
    (log.folder.root / "checkpoint").write_bytes(old)
    assert any("old backup" in problem for problem in check(database, log))
    log.run_batch()
    assert_sound(database, log)
