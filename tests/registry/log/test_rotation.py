"""A new key for the log: who trusted the old one can follow, nobody else can slip one in, and a crash at any
step is mended by calling again."""

import contextlib
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from registry.database import Database
from registry.errors import LogRefused, ProofRefused, Refusal
from registry.log import Kind, LogFiles, TransparencyLog, TrustRoot
from registry.log.check import check
from registry.log.rotation import rotate
from tests.registry.log.conftest import begin, fill
from tests.registry.log.independent import verify_log

ROTATION = sys.modules["registry.log.rotation"]


def rotated(database: Database, files: LogFiles) -> tuple[TransparencyLog, bytes]:
    """The log under its new key, and the receipt of the rotation."""
    log = TransparencyLog.open(database, files)
    try:
        receipt = rotate(log, files)[1]
    finally:
        log.close()
    again = TransparencyLog.open(database, files)
    again.run_batch()
    return again, receipt.encode()


def test_whoever_trusts_the_old_key_learns_the_new_one(
    database: Database, files: LogFiles, log: TransparencyLog
) -> None:
    from registry.log import Receipt

    [before] = begin(database)
    old_root, old_receipt = log.signer.trust, log.wait(before.generation_id)
    again, rotation = rotated(database, files)
    try:
        said = Receipt.parse(rotation).verify(old_root).entry
        assert (said["kind"], said["new"]) == ("key-rotation", str(again.key.verifier))
        [after] = begin(database)
        new_receipt = again.wait(after.generation_id)
        new_receipt.verify(TrustRoot.parse(said["new"]))
        with pytest.raises(ProofRefused) as caught:
            new_receipt.verify(old_root)
        assert caught.value.reason is Refusal.UNSIGNED
        published = TrustRoot.parse(files.public.read_text())
        for receipt in (old_receipt, new_receipt):
            receipt.verify(published)
        assert check(database, again) == []
        assert (
            verify_log(str(files.tiles), said["new"])["size"] == again.newest(Kind.GENERATION).log_index + 1
        )  # type: ignore[union-attr]
    finally:
        again.close()


def test_a_second_rotation_follows_the_first(database: Database, files: LogFiles) -> None:
    first, _ = rotated(database, files)
    first.close()
    second, _ = rotated(database, files)
    try:
        assert len(second.signer.trust.logs) == 3
        assert check(database, second) == []
    finally:
        second.close()


def test_a_process_that_has_the_log_open_signs_nothing_afterwards(
    database: Database, files: LogFiles, log: TransparencyLog
) -> None:
    """It would go on with a key that was retired."""
    log.run_batch()
    rotated(database, files)[0].close()
    fill(database, 1)
    with pytest.raises(LogRefused):
        log.run_batch()


@pytest.mark.parametrize("announced", ["not at all", "without being signed", "for another key"])
def test_a_key_that_the_old_one_did_not_announce_is_refused(
    database: Database, files: LogFiles, announced: str, tmp_path: Path
) -> None:
    """Whoever can write files or rows must not be able to put a key of theirs in the place of ours."""
    log = TransparencyLog.open(database, files)
    fill(database, 1)
    log.run_batch()
    old = str(log.key.verifier)
    stranger = TransparencyLog.open(database, LogFiles.in_folder(tmp_path / "stranger"))
    ours = {"old": old, "new": str(stranger.key.verifier)}
    if announced == "for another key":
        log.state(Kind.KEY_ROTATION, ours | {"new": old})
    log.close()
    stranger.close()
    if announced == "without being signed":
        leaf = f'{{"kind":"key-rotation","new":"{ours["new"]}","old":"{old}"}}'
        with database.transaction() as connection:
            insert = "INSERT INTO log_entry (kind, leaf) VALUES ('key-rotation', convert_to(:leaf, 'utf8'))"
            connection.execute(text(insert), {"leaf": leaf})
    files.key.write_bytes((tmp_path / "stranger" / "keys" / "log.key").read_bytes())
    signed = files.signed.read_bytes()
    taken_over = TransparencyLog.open(database, files)
    with pytest.raises(LogRefused):
        taken_over.run_batch()
    taken_over.close()
    assert files.signed.read_bytes() == signed


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (ROTATION, "save_key"),
        (TransparencyLog, "state"),
        (ROTATION, "replace_durably"),
        (Path, "replace"),
        (ROTATION, "sync_folder"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_is_mended_by_calling_again(
    database: Database,
    files: LogFiles,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    after: bool,
) -> None:
    log = TransparencyLog.open(database, files)
    fill(database, 3)
    log.run_batch()
    first = log.key.verifier
    step = getattr(module, name)
    calls: list[int] = []

    def crash(*args: object, **kwargs: object) -> object:
        if after and not calls:
            step(*args, **kwargs)
        calls.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(module, name, crash)
        rotate(log, files)
    assert calls
    log.close()
    again, _ = rotated(database, files)
    try:
        assert again.key.verifier != first
        assert first in again.signer.trust.logs
        assert not files.next_key.exists()
        assert check(database, again) == []
        assert verify_log(str(files.tiles), str(again.key.verifier))["size"] >= 4
    finally:
        again.close()
