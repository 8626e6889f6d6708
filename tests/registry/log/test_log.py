"""A running log: receipts that wait, gap-free indexes, several processes, writes that fail at every step."""

import contextlib
import hashlib
import subprocess
import sys
import threading
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
from registry.log.check import check
from registry.log.merkle import root
from registry.log.monitor import check_tiles
from registry.log.signer import Signer
from registry.log.tiles import TileReader
from tests.registry.log.conftest import begin, fill, finish
from tests.registry.log.independent import verify_log, verify_receipt

ROOT = Path(__file__).parents[3]


def indexes(database: Database) -> list[int]:
    with database.transaction() as connection:
        chosen = text("SELECT log_index FROM log_entry WHERE log_index IS NOT NULL ORDER BY log_index")
        return list(connection.execute(chosen).scalars())


def assert_sound(database: Database, log: TransparencyLog) -> None:
    """What must hold after any failure: the indexes, the tiles, the rows, and for a stranger's verifier."""
    found = indexes(database)
    assert found == list(range(len(found)))
    log.run_batch()
    assert check(database, log) == []
    key = str(log.key.verifier)
    assert verify_log(str(log.folder.root), key)["size"] == len(indexes(database))


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
            check_tiles(reader)
            assert root(reader.node, older.size) == older.root
    with pytest.raises(LogDamaged):
        log.folder.read("tile/0/001.p/200")  # nobody has signed so many


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


# the tamper drill, and what the signer refuses


def edit(database: Database, statement: str) -> None:
    """As somebody would who owns the database: triggers off."""
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))


def test_a_byte_flipped_in_any_tile_is_noticed_and_the_file_is_named(
    database: Database, log: TransparencyLog
) -> None:
    fill(database, 300)
    log.run_batch()
    paths = sorted(path for path in log.folder.root.glob("tile/**/*") if path.is_file())
    assert len(paths) >= 5
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:] if len(whole) > 40 else whole[::-1])
        problems = check(database, log)
        name = str(path.relative_to(log.folder.root))
        assert any(name in problem for problem in problems) or "entries" in name, (name, problems)
        assert problems, name
        path.write_bytes(whole)
    assert check(database, log) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "UPDATE log_entry SET leaf = convert_to('{\"kind\":\"revocation\"}', 'utf8') WHERE log_index = 1",
            "log entry 1",
        ),
        ("UPDATE log_entry SET kind = 'revocation' WHERE log_index = 1", "log entry 1"),
        ("DELETE FROM log_entry WHERE log_index = 1", "log entry 1"),
        ("UPDATE generation SET model = 'other'", "differs from its log entries in model"),
        ("UPDATE generation SET content_id = 5 WHERE ordinal = 1", "content id"),
        ("UPDATE generation SET created_at = created_at - interval '1 day'", "time"),
        ("UPDATE generation SET state = 'aborted', finished_at = now()", "state"),
    ],
)
def test_an_edited_row_is_noticed_and_named(
    database: Database, log: TransparencyLog, statement: str, named: str
) -> None:
    begin(database, 3)
    log.run_batch()
    assert check(database, log) == []
    edit(database, statement)
    assert any(named in problem for problem in check(database, log))


def test_an_edited_audio_hash_is_noticed(database: Database, log: TransparencyLog) -> None:
    [generation] = begin(database)
    finish(database, generation, bytes(32))
    log.run_batch()
    edit(database, "UPDATE generation SET pcm_sha256 = sha256('other')")
    assert any("audio hash" in problem for problem in check(database, log))


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


def test_a_signer_without_its_record_signs_nothing(
    database: Database, log: TransparencyLog, files: LogFiles
) -> None:
    begin(database)
    log.run_batch()
    record = files.signed.read_bytes()
    files.signed.unlink()
    begin(database)
    with pytest.raises(LogRefused, match="is gone"):
        log.run_batch()
    files.signed.write_bytes(record.replace(b"\n1\n", b"\n0\n"))
    with pytest.raises(LogRefused, match="not the last checkpoint"):
        log.run_batch()
    files.signed.write_bytes(record)
    assert_sound(database, log)


def test_another_key_cannot_go_on_with_the_log_of_this_database(
    database: Database, log: TransparencyLog, tmp_path: Path
) -> None:
    begin(database)
    log.run_batch()
    other = TransparencyLog.open(database, LogFiles.in_folder(tmp_path / "other"))
    with pytest.raises(LogRefused, match="put the log's own key file back"):
        other.run_batch()


@pytest.mark.parametrize("damage", ["mode", "cut", "other"])
def test_a_key_file_that_cannot_be_trusted_is_refused(files: LogFiles, damage: str) -> None:
    key = Signer.load_or_create(files).key
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(key) and files.key.read_text().split('"')[-2] not in repr(key)
    if damage == "mode":
        files.key.chmod(0o644)
    else:
        text = files.key.read_text()
        files.key.write_text(text[:-20] if damage == "cut" else text.replace("earmark/", "earmork/"))
    with pytest.raises(LogRefused):
        Signer.load_or_create(files)


def test_a_damaged_tile_gives_no_receipt(database: Database, log: TransparencyLog) -> None:
    """A wrong proof must not be handed out: its holder would find out years later."""
    generation = begin(database, 2)[0]
    log.run_batch()
    tile = log.folder.root / "tile/0/000.p/2"
    tile.write_bytes(bytes(64))
    with pytest.raises(LogDamaged):
        log.receipt(generation.generation_id)
