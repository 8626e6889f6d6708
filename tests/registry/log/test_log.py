"""A running log: receipts that wait, gap-free indexes, several processes, writes that fail at every step."""

import contextlib
import hashlib
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import exc, text

from registry.database import Database
from registry.errors import (
    DatabaseUnavailable,
    LogDamaged,
    LogRefused,
    LogUnavailable,
    RegistryInputError,
    UnknownGeneration,
)
from registry.log import Checkpoint, Kind, LogFiles, TransparencyLog, outbox, sequencer, tiles
from registry.log.merkle import root
from registry.log.monitor import check_tiles
from registry.log.signer import Signer
from registry.log.tiles import TileReader
from tests.registry.log.conftest import assert_sound, begin, fill, finish, indexes
from tests.registry.log.independent import verify_receipt

ROOT = Path(__file__).parents[3]


def test_a_receipt_is_there_when_the_wait_returns(database: Database, log: TransparencyLog) -> None:
    [generation] = begin(database)
    receipt = log.wait(generation.generation_id)
    verified = receipt.verify(log.signer.trust)
    assert verified.entry == {
        "v": 1,
        "kind": "generation",
        "event": "begun",
        "generation_id": str(generation.generation_id),
        "content_id": f"{generation.content_id:012x}",
        "at": generation.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "system": {"name": "test", "version": "1"},
        "model": "none",
    }
    assert verify_receipt(receipt.encode(), str(log.key.verifier))["entry"] == verified.entry
    assert_sound(database, log)


def test_a_finished_generation_commits_to_its_file_and_its_samples(
    database: Database, log: TransparencyLog
) -> None:
    [generation] = begin(database)
    pcm, file = hashlib.sha256(b"pcm").digest(), b"file"
    finish(database, generation, pcm, hashlib.sha256(file).digest())
    receipt = log.wait(generation.generation_id)
    assert receipt.verify(log.signer.trust).entry["event"] == "finished"
    assert receipt.check_audio(file, lambda: b"") == "file"
    assert receipt.check_audio(b"as ogg", lambda: pcm) == "samples"
    finish(database, generation, pcm)  # a repeated finish, its answer was lost
    assert indexes(database) == [0, 1]
    log.run_batch()
    assert indexes(database) == [0, 1], "a repeated finish logged twice"


def test_an_erased_salt_leaves_the_log_whole_and_the_commitment_closed(
    database: Database, log: TransparencyLog
) -> None:
    [generation] = begin(database)
    finish(database, generation, hashlib.sha256(b"pcm").digest())
    assert log.wait(generation.generation_id).salt is not None
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM log_salt"))
    assert log.receipt(generation.generation_id).salt is None
    assert_sound(database, log)


def test_entries_cross_the_edges_of_tiles(database: Database, log: TransparencyLog) -> None:
    """255, 256 and 257 leaves, then a batch that fills two tiles at once; each old receipt still verifies."""
    receipts = []
    for count in (254, 0, 0, 600):
        generations = begin(database)
        fill(database, count)
        log.run_batch()
        receipts += [log.receipt(one.generation_id) for one in (generations[0], generations[-1])]
        assert_sound(database, log)
    for receipt in receipts:
        receipt.verify(log.signer.trust)
    assert log.consistency(257)
    assert not list(log.folder.root.glob("tile/**/.*")), "temporary files stay"
    assert len(list(log.folder.root.glob("tile/**/*.p/*"))) <= 2 * 3, "partial tiles pile up"


def test_who_reads_slowly_finds_the_tiles_of_a_tree_many_batches_old(
    database: Database, log: TransparencyLog
) -> None:
    """A monitor that gets no tile for its checkpoint says that the log is damaged, which is false."""
    notes = []
    for count in (3, 3, 3, 3, 300, 3, 3):  # the first tiles grow four times, are filled, and new ones grow
        begin(database)
        fill(database, count)
        log.run_batch()
        notes.append(log.checkpoint())
        for note in notes:
            older = Checkpoint.of(note)
            reader = TileReader(log.folder.read, older.size)
            check_tiles(reader, older.root)
            assert root(reader.node, older.size) == older.root
    with pytest.raises(LogDamaged):
        log.folder.read("tile/0/001.p/200")  # nobody has signed so many


def test_an_entry_that_nobody_waits_for_is_public_soon(
    database: Database, log: TransparencyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a stream whose listener has left: a quiet service would leave it out for hours."""
    monkeypatch.setattr("registry.log.log.IDLE_S", 0.2)
    first, second = begin(database, 2)
    log.wait(first.generation_id)  # which starts the thread
    finish(database, second, bytes(32))
    end_s = time.monotonic() + 20
    receipt = None
    while receipt is None and time.monotonic() < end_s:
        with contextlib.suppress(LogUnavailable):  # it has its index before the tree is signed
            receipt = log.receipt(second.generation_id)
        time.sleep(0.05)
    assert receipt is not None and b"finished" in receipt.leaf


def test_waiters_of_many_threads_share_batches(database: Database, log: TransparencyLog) -> None:
    ids = [generation.generation_id for generation in begin(database, 30)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda one=one: found.append(log.wait(one).index)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(30))


WRITE = """
import os, sys
from pathlib import Path
from registry.database import Database
from registry.log import LogFiles, TransparencyLog
from tests.registry.log.conftest import begin
os.fork()
os.fork()  # four processes
database = Database(sys.argv[1])
log = TransparencyLog.open(database, LogFiles.in_folder(Path(sys.argv[2])))
for _ in range(6):
    for generation in begin(database, 3):
        receipt = log.wait(generation.generation_id, timeout_s=60)
        receipt.verify(log.signer.trust)
        os.write(1, b"%d\\n" % receipt.index)
log.close()
failed = False
while True:
    try:
        failed |= os.wait()[1] != 0
    except ChildProcessError:
        sys.exit(failed)
"""


def test_processes_that_log_at_once_share_one_sequence(
    database: Database, database_url: str, files: LogFiles, log: TransparencyLog
) -> None:
    command = [sys.executable, "-c", WRITE, database_url, str(files.tiles.parent)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert sorted(map(int, ended.stdout.split())) == list(range(72))
    assert_sound(database, log)


def test_nothing_is_promised_while_another_process_holds_the_log(
    database: Database, log: TransparencyLog, embedded_server: object
) -> None:
    """The wait ends in LogUnavailable, which becomes a 503; the entry is taken later."""
    [generation] = begin(database)
    with database.engine.connect() as other:
        other.execute(text("SELECT pg_advisory_lock(1700885101, 3)"))  # twin: tables.LOCK_SPACE, LOCK_LOG
        with pytest.raises(LogUnavailable, match="try again"):
            log.wait(generation.generation_id, timeout_s=0.3)
        other.execute(text("SELECT pg_advisory_unlock_all()"))
    log.wait(generation.generation_id)
    assert_sound(database, log)


def test_what_is_not_logged_has_no_receipt(database: Database, log: TransparencyLog) -> None:
    with pytest.raises(UnknownGeneration):
        log.wait(uuid.uuid4())
    [generation] = begin(database)
    with pytest.raises(LogUnavailable):
        log.receipt(generation.generation_id)
    with pytest.raises(LogUnavailable):
        log.checkpoint()


def test_a_rolled_back_generation_leaves_no_entry(database: Database, log: TransparencyLog) -> None:
    with pytest.raises(RuntimeError), database.transaction() as connection:
        from registry import generations
        from tests.registry.log.conftest import NEW

        generations.begin(connection, NEW, owner=1)
        raise RuntimeError
    assert log.run_batch() == 0


def test_statements_are_entries_of_their_own(database: Database, log: TransparencyLog) -> None:
    [generation] = begin(database)
    with database.transaction() as connection:
        body = {"text": "issued in error"}
        entry_id = outbox.statement(connection, Kind.REVOCATION, body, generation.generation_id)
    entry = log.published(entry_id)
    assert entry.log_index == 1
    assert log.newest(Kind.REVOCATION) == entry
    assert log.receipt(generation.generation_id).index == 0, "the receipt is of the generation itself"
    for body in ({"kind": "generation"}, {"text": "x" * 20_000}):
        with pytest.raises(RegistryInputError):
            log.state(Kind.POLICY_CHANGE, body)
    assert_sound(database, log)


# the database refuses what the code never does


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entry SET leaf = '{}' WHERE log_index = 0",
        "UPDATE log_entry SET log_index = 7 WHERE log_index = 0",
        "UPDATE log_entry SET log_index = NULL WHERE log_index = 0",
        "UPDATE log_entry SET log_index = 9 WHERE log_index IS NULL",
        "DELETE FROM log_entry",
        "TRUNCATE log_entry",
        "DELETE FROM log_key",
    ],
)
def test_the_database_refuses_to_change_an_entry(
    database: Database, log: TransparencyLog, statement: str
) -> None:
    begin(database)
    log.run_batch()
    begin(database)
    with (
        pytest.raises((exc.IntegrityError, exc.InternalError)) as refused,
        database.engine.begin() as connection,
    ):
        connection.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg2.Error)


# every write step fails: before it did anything (lost), or after (kept, but reported failed)

STEPS: dict[str, tuple[object, str]] = {
    "write a file": (tiles, "write_synced"),
    "sync a folder": (tiles, "sync_folder"),
    "append to the tiles": (tiles.TileFolder, "append"),
    "record what is signed": (sys.modules["registry.log.signer"], "replace_durably"),
    "publish": (tiles.TileFolder, "publish"),
    "remove partial tiles": (tiles.TileFolder, "drop_partials"),
    "sign": (Signer, "sign"),
    "count what has an index": (sequencer, "_num_sequenced"),
}


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_loses_nothing_and_promises_nothing(
    database: Database, log: TransparencyLog, step: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of the step fails once, in turn; after each failure a fresh process finds a sound log."""
    promised = [log.wait(generation.generation_id) for generation in begin(database, 2)]
    owner, name = STEPS[step]
    original = getattr(owner, name)
    nth = 0
    while True:
        nth += 1
        calls = Calls(original, nth, kept)
        fill(database, 255 if nth == 1 else 1)  # the first batch fills a tile
        monkeypatch.setattr(owner, name, calls)
        with contextlib.suppress(LogUnavailable, LogRefused, OSError):
            log.run_batch()
        monkeypatch.setattr(owner, name, original)
        assert_sound(database, log)
        for receipt in promised:
            receipt.verify(log.signer.trust)
        if calls.count < nth:
            break
    assert nth > 1, "the step was never reached"


class Calls:
    """The original, whose n-th call fails: before it does anything, or after it did everything."""

    def __init__(self, original: Callable[..., object], nth: int, kept: bool) -> None:
        self.count = 0
        self._original, self._nth, self._kept = original, nth, kept

    def __get__(self, instance: object, owner: type) -> Callable[..., object]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.count += 1
        if self.count == self._nth and not self._kept:
            raise OSError(28, "No space left on device")
        result = self._original(*args, **kwargs)
        if self.count == self._nth:
            raise OSError(5, "Input/output error")
        return result


def test_a_database_that_breaks_before_and_after_each_statement_loses_nothing(
    database: Database, log: TransparencyLog
) -> None:
    """The connection is cut at each statement of a batch, before it ran and after."""
    from sqlalchemy import event

    log.wait(begin(database)[0].generation_id)
    for moment in ("before_cursor_execute", "after_cursor_execute"):
        nth = 0
        while True:
            nth, calls = nth + 1, 0

            def cut(connection: object, cursor: object, *_: object, nth: int = nth) -> None:
                nonlocal calls
                calls += 1
                if calls == nth:
                    cursor.connection.close()  # type: ignore[attr-defined]
                    raise psycopg2.OperationalError("the server went away")

            begin(database, 2)
            event.listen(database.engine, moment, cut)
            with contextlib.suppress(DatabaseUnavailable, psycopg2.Error):
                log.run_batch()
            event.remove(database.engine, moment, cut)
            assert_sound(database, log)
            if calls < nth:
                break
        assert nth > 4
