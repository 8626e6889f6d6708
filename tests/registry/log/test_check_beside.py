"""`earmark log monitor` runs beside the service: a log that grows while it is compared is no damaged log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.database import Database
from registry.errors import LogRefused
from registry.log import LogFiles, TransparencyLog
from registry.log.check import check
from registry.log.tiles import TileFolder
from tests.registry.log.conftest import assert_sound, begin, finish, indexes

NUM_CHECKS = 40


@contextmanager
def busy_signer(database: Database, files: LogFiles) -> Iterator[None]:
    """Another user of the same log, which begins, finishes and signs without a pause; its errors come out."""
    stop, failed = threading.Event(), []

    def sign() -> None:
        other = TransparencyLog.open(database, files)
        try:
            while not stop.is_set():
                [generation] = begin(database)
                other.run_batch()
                finish(database, generation, bytes(32))
                other.run_batch()
        except Exception as error:
            failed.append(error)
        finally:
            other.close()

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failed == []


def test_a_log_that_grows_is_no_old_backup(
    database: Database, files: LogFiles, log: TransparencyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree is recorded as signed some milliseconds before it is public; here, so long that every check
    would meet it."""
    publish = TileFolder.publish

    def publish_late(folder: TileFolder, note: bytes) -> None:
        time.sleep(0.02)
        publish(folder, note)

    monkeypatch.setattr(TileFolder, "publish", publish_late)
    begin(database)
    log.run_batch()
    before = len(indexes(database))
    with busy_signer(database, files):
        problems = [check(database, log) for _ in range(NUM_CHECKS)]
    assert problems == [[]] * NUM_CHECKS
    assert len(indexes(database)) > before + 10, "the signer was not busy"
    assert_sound(database, log)


def test_a_check_waits_for_a_tree_that_is_signed_and_not_public_yet(
    database: Database, log: TransparencyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same moment, on purpose."""
    begin(database)
    log.run_batch()
    publish, found, threads = TileFolder.publish, [], []

    def publish_while_it_is_checked(folder: TileFolder, note: bytes) -> None:
        threads.append(threading.Thread(target=lambda: found.append(check(database, log))))
        threads[0].start()
        threads[0].join(0.5)
        assert found == [], "it did not wait"
        publish(folder, note)

    monkeypatch.setattr(TileFolder, "publish", publish_while_it_is_checked)
    begin(database)
    log.run_batch()
    threads[0].join()
    assert found == [[]]


def test_a_lock_that_cannot_be_had_is_named(files: LogFiles, log: TransparencyLog, tmp_path: Path) -> None:
    """Of a folder of keys that is gone: words for the operator, no traceback."""
    files.signed.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(LogRefused, match="cannot be used"), log.signer.paused():
        pass
