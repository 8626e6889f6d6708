"""An old backup comes back: of the database, of the tiles, of the whole data folder. What was signed since is
never signed differently, and who restored is told why.

The record of the last signed tree is what tells; it must not be in the same backup.
"""

import pytest

from registry.database import Database
from registry.errors import LogRefused
from registry.log import TransparencyLog
from registry.log.check import check
from tests.registry.log.conftest import assert_sound, begin, edit, fill


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
