"""The tamper drill: whoever owns the files and the database changes something, and it is noticed and named.

Also what the signer refuses, so that no changed past is ever signed.
"""

from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from registry import generations
from registry.database import Database
from registry.errors import LogDamaged, LogRefused
from registry.log import LogFiles, TransparencyLog
from registry.log.check import check
from registry.log.signer import Signer
from registry.records import Generation
from tests.registry.log.conftest import assert_sound, begin, edit, fill, finish
from tests.registry.log.independent import verify_log


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("num_entries", [44, 300])
def test_a_byte_flipped_in_any_tile_is_noticed_and_the_file_is_named(
    database: Database, log: TransparencyLog, num_entries: int
) -> None:
    """The file and no other: what is named first is what somebody replaces. Bytes of lengths, of leaves, of
    hashes, at both ends of the file; in a tile that is full and in those that are not. The independent
    verifier refuses each."""
    fill(database, num_entries)
    log.run_batch()
    paths = sorted(path for path in log.folder.root.glob("tile/**/*") if path.is_file())
    assert len(paths) == (2 if num_entries == 44 else 5)
    for path in paths:
        whole = path.read_bytes()
        name = str(path.relative_to(log.folder.root))
        for place in (0, 1, 31, len(whole) // 2, len(whole) - 1):
            path.write_bytes(flipped(whole, place))
            problems = check(database, log)
            assert problems and all(problem.startswith(name) for problem in problems), (name, place, problems)
            with pytest.raises(AssertionError):
                verify_log(str(log.folder.root), str(log.key.verifier))
        path.write_bytes(whole)
    assert check(database, log) == []


def test_entries_and_hashes_that_were_changed_alike_are_both_named(
    database: Database, log: TransparencyLog
) -> None:
    """Neither leads to the signed root, so neither can be believed; the row is then called what it is."""
    fill(database, 3)
    log.run_batch()
    for name in ("tile/0/000.p/3", "tile/entries/000.p/3"):
        path = log.folder.root / name
        path.write_bytes(flipped(path.read_bytes(), 40))
    (first, *_) = check(database, log)
    assert "tile/0/000.p/3" in first and "tile/entries/000.p/3" in first


EDITS = [
    (
        "UPDATE log_entry SET leaf = convert_to('{\"kind\":\"revocation\"}', 'utf8') WHERE log_index = 1",
        "log entry 1 of the database is not the one that was logged",
    ),
    (
        "UPDATE log_entry SET leaf = '\\x7b7b' WHERE log_index = 1",
        "log entry 1 of the database is not the one",
    ),
    ("UPDATE log_entry SET kind = 'revocation' WHERE log_index = 1", "log entry 1 of the database is filed"),
    (
        "UPDATE log_entry SET generation_id = gen_random_uuid() WHERE log_index = 1",
        "log entry 1 of the database is filed",
    ),
    ("DELETE FROM log_entry WHERE log_index = 1", "log entry 1 is public and the database lacks it"),
    ("UPDATE generation SET model = 'other'", "differs from its log entries in model"),
    ("UPDATE generation SET system = 'other'", "differs from its log entries in system"),
    ("UPDATE generation SET system_version = 'other'", "differs from its log entries in system"),
    ("UPDATE generation SET content_id = 5 WHERE ordinal = 1", "differs from its log entries in content id"),
    (
        "UPDATE generation SET created_at = created_at - interval '1 day'",
        "differs from its log entries in time",
    ),
    (
        "UPDATE generation SET state = 'aborted', finished_at = now() WHERE state = 'open'",
        "differs from its log entries in state, end",
    ),
    (
        "UPDATE generation SET state = 'aborted' WHERE state = 'complete'",
        "differs from its log entries in state",
    ),
    (
        "UPDATE generation SET finished_at = finished_at - interval '1 us' WHERE state = 'complete'",
        "differs from its log entries in end",
    ),
    (
        "UPDATE generation SET finished_at = finished_at + interval '1 day' WHERE state = 'aborted'",
        "differs from its log entries in end",
    ),
    (
        "UPDATE generation SET num_samples = 5 WHERE state = 'complete'",
        "differs from its log entries in duration",
    ),
    (
        "UPDATE generation SET pcm_sha256 = sha256('other') WHERE state = 'complete'",
        "differs from its log entries in audio hash or salt",
    ),
    (
        "UPDATE log_salt SET salt = sha256('other')",
        "differs from its log entries in audio hash or salt",
    ),
    (
        "INSERT INTO generation (generation_id, content_id, system, system_version, model, sample_rate_hz,"
        " owner) VALUES (gen_random_uuid(), 7, 'test', '1', 'none', 24000, 1)",
        "differs from its log entries in that none of them begins it",
    ),
]


@pytest.mark.parametrize(("statement", "named"), EDITS)
def test_an_edited_row_is_noticed_and_named(
    database: Database, log: TransparencyLog, statement: str, named: str
) -> None:
    one_of_each_state(database)
    log.run_batch()
    assert check(database, log) == []
    edit(database, statement)
    problems = check(database, log)
    assert any(named in problem for problem in problems), problems


def one_of_each_state(database: Database) -> list[Generation]:
    """An open generation, a complete one, an aborted one."""
    made = begin(database, 3)
    finish(database, made[1], bytes(32), bytes(32))
    with database.transaction() as connection:
        generations.abort(connection, made[2].generation_id)
    return made


@pytest.mark.parametrize("with_its_entries", [False, True])
@pytest.mark.parametrize("nth", [0, 1, 2])
def test_a_generation_that_was_removed_is_named_once(
    database: Database, log: TransparencyLog, nth: int, with_its_entries: bool
) -> None:
    """The one edit that would hide what was issued: the tiles still have it, whatever the tables say."""
    hidden = one_of_each_state(database)[nth].generation_id
    log.run_batch()
    edit(database, f"DELETE FROM generation WHERE generation_id = '{hidden}'")
    if with_its_entries:
        edit(database, f"DELETE FROM log_entry WHERE generation_id = '{hidden}'")
    problems = check(database, log)
    assert len([one for one in problems if f"generation {hidden} has log entries and no row" in one]) == 1


def test_what_is_removed_on_purpose_is_no_alarm(database: Database, log: TransparencyLog) -> None:
    """Salts are erased so that a commitment can never be opened again."""
    one_of_each_state(database)
    log.run_batch()
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM log_salt"))
    assert check(database, log) == []


def test_generations_that_are_older_than_the_log_are_no_alarm(
    database: Database, log: TransparencyLog
) -> None:
    """A registry from before there was a log: rows without entries, one of which ended under the log. What
    was logged of that one still counts; and a row from after the first entry is no old one."""
    old = one_of_each_state(database)
    edit(database, "DELETE FROM log_entry")
    assert check(database, log) == [], "before the log has any entry"
    finish(database, old[0], bytes(32))
    one_of_each_state(database)
    log.run_batch()
    assert check(database, log) == []
    edit(
        database, f"UPDATE generation SET finished_at = now() WHERE generation_id = '{old[0].generation_id}'"
    )
    [problem] = check(database, log)
    assert f"{old[0].generation_id} differs from its log entries in end" in problem


def test_a_generation_that_ends_while_it_is_compared_is_no_alarm(
    database: Database, log: TransparencyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`earmark log monitor` runs beside the service: row and entries must be of one moment."""
    [generation] = begin(database)
    log.run_batch()
    read_rows = generations.newest

    def read_rows_then_finish(connection: Connection, *rest: object) -> list[Generation]:
        rows = read_rows(connection, *rest)  # type: ignore[arg-type]
        finish(database, generation, bytes(32))
        return rows

    monkeypatch.setattr(generations, "newest", read_rows_then_finish)
    assert check(database, log) == []


def test_an_edited_audio_hash_is_noticed(database: Database, log: TransparencyLog) -> None:
    [generation] = begin(database)
    finish(database, generation, bytes(32))
    log.run_batch()
    edit(database, "UPDATE generation SET pcm_sha256 = sha256('other')")
    assert any("audio hash" in problem for problem in check(database, log))


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
