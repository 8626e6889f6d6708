"""`earmark log …` and `earmark verify --check`, as an auditor types them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.main import main
from audio import encode
from registry.log import Checkpoint, LogFiles, Receipt, canonical
from registry.log.merkle import leaf_hash
from registry.log.receipt import commitment
from registry.log.signer import Signer
from tests.api.cli.test_main import OTHER_SPEECH, SPEECH, Earmark, earmark
from tests.registry.plain import speech

__all__ = ["earmark"]  # the fixture


@pytest.fixture
def marked(earmark: Earmark, tmp_path: Path) -> Path:
    target = tmp_path / "marked.flac"
    assert earmark("mark", SPEECH, "-o", target).code == 0
    return target


def test_a_receipt_is_checked_offline_with_the_public_key_alone(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    """In a process without the data folder and without a database that could be asked."""
    key = earmark("log", "key").out.strip()
    receipt = marked.with_name("marked.flac.tlog-proof")
    program = [sys.executable, "-m", "api.cli.main", "--data-dir", str(tmp_path / "nothing")]
    program += ["--database-url", "postgresql://nobody@127.0.0.1:1/none", "log", "verify", "--key", key]
    right = subprocess.run([*program, receipt, marked], capture_output=True, text=True, check=False)
    assert (right.returncode, right.stderr) == (0, "")
    assert "byte for byte" in right.stdout
    wrong = subprocess.run([*program, receipt, OTHER_SPEECH], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "not, bit for bit, the audio that was released" in wrong.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_bad_receipt_is_one_sentence(earmark: Earmark, marked: Path, tmp_path: Path) -> None:
    receipt = marked.with_name("marked.flac.tlog-proof")
    bad = tmp_path / "bad"
    for content in (
        b"",
        b"\xff\x00",
        receipt.read_bytes()[:100],
        receipt.read_bytes().replace(b"index ", b"index 1"),
    ):
        bad.write_bytes(content)
        code, out, err = earmark("log", "verify", bad, marked)
        assert (code, out) == (1, "")
        assert err.startswith("earmark: ") and len(err.splitlines()) == 1


def test_list_show_and_export_name_the_entries(earmark: Earmark, marked: Path, tmp_path: Path) -> None:
    [row] = json.loads(earmark("log", "list", "--json").out)
    indexes = [place["index"] for place in row["log"]]
    assert len(indexes) == 2 and row["state"] == "complete"
    assert f"log {indexes[0]}+{indexes[1]}" in earmark("log", "list").out
    receipt = tmp_path / "again.tlog-proof"
    shown = json.loads(earmark("log", "show", row["generation_id"], "-o", receipt, "--json").out)
    assert (shown["index"], shown["entry"]["event"]) == (indexes[1], "finished")
    assert earmark("log", "verify", receipt, marked).code == 0
    assert json.loads(earmark("log", "show", indexes[0], "--json").out)["entry"]["event"] == "begun"
    lines = [json.loads(line) for line in earmark("log", "export").out.splitlines()]
    assert [line["index"] for line in lines] == list(range(len(lines)))
    assert lines[indexes[1]]["entry"] == shown["entry"]
    assert lines[0]["entry"]["kind"] == "detector-release"
    for words in (["log", "show", "999"], ["log", "show", "no-such"]):
        assert earmark(*words).code in (1, 2)


def test_a_change_of_policy_is_logged(earmark: Earmark, marked: Path) -> None:
    stated = json.loads(earmark("log", "state", "anonymous callers get words", "--json").out)
    shown = json.loads(earmark("log", "show", stated["index"], "--json").out)["entry"]
    assert (shown["kind"], shown["text"]) == ("policy-change", "anonymous callers get words")


def test_the_monitor_of_our_own_log_names_what_was_changed(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    assert earmark("log", "monitor").code == 0
    [tile] = (tmp_path / "data/log/tile/entries/000.p").glob("3")
    whole = tile.read_bytes()
    tile.write_bytes(whole.replace(b"begun", b"begum"))
    code, out, err = earmark("log", "monitor")
    assert code == 1
    assert out.startswith("tile/entries/000.p/3 is not what its hashes give") and "does not agree" in err


def test_a_signed_result_is_checked_with_the_public_key_alone(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    result.write_text(earmark("verify", marked, "--json").out)
    key = earmark("log", "key").out.strip()
    key_file = tmp_path / "log.pub"
    key_file.write_text(key + "\n")
    for given in (key, key_file):
        assert earmark("verify", "--check", result, marked, "--key", given).code == 0
    assert "issued_here" in earmark("verify", "--check", result).out
    other = earmark("verify", "--check", result, OTHER_SPEECH)
    assert other.code == 1 and "another file" in other.err
    result.write_text(result.read_text().replace('"issued_here"', '"not_detected"'))
    forged = earmark("verify", "--check", result)
    assert forged.code == 1 and "did not sign this" in forged.err


def test_samples_in_another_file_open_the_receipt_of_a_stream(earmark: Earmark, tmp_path: Path) -> None:
    """A stream has no file to commit to; a float WAV of the very samples is what it released."""
    files = LogFiles.in_folder(tmp_path / "data")
    samples_T = speech(24_000)
    wav = tmp_path / "stream.wav"
    wav.write_bytes(encode(samples_T, 24_000, "wav", codec="pcm_f32le"))
    assert earmark("log", "key").code == 0
    leaf = {"kind": "generation", "file_commit": None}
    leaf["pcm_commit"] = commitment(bytes(32), hashlib.sha256(samples_T.tobytes()).digest())
    signer = Signer.load_or_create(files)
    tree = Checkpoint(signer.key.verifier.name, 1, leaf_hash(canonical(leaf)))
    note = str(signer.key.sign_note(tree.text)).encode()
    receipt = tmp_path / "stream.tlog-proof"
    receipt.write_bytes(Receipt(0, (), note, canonical(leaf), bytes(32)).encode())
    assert "the samples that were released" in earmark("log", "verify", receipt, wav).out
    assert earmark("log", "verify", receipt, SPEECH).code == 1


def test_wrong_use_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--data-dir", str(tmp_path), "log", "verify", str(SPEECH)]) == 2
    assert "--key" in capsys.readouterr().err
    assert main(["--data-dir", str(tmp_path), "verify", "--key", "k", str(SPEECH)]) == 2


def test_a_rotated_key_is_followed_from_the_old_one(earmark: Earmark, marked: Path, tmp_path: Path) -> None:
    old = earmark("log", "key").out.strip()
    proof = tmp_path / "rotation.tlog-proof"
    assert earmark("log", "rotate-key", "-o", proof).code == 0
    new = earmark("log", "key").out.strip()
    assert new != old
    assert new in earmark("log", "verify", "--key", old, proof).out
    receipt = marked.with_name("marked.flac.tlog-proof")
    assert earmark("log", "verify", receipt, marked).code == 0  # the folder's own trust root has both keys
    assert earmark("mark", SPEECH, "-o", tmp_path / "after.flac").code == 0
    assert earmark("log", "verify", "--key", new, tmp_path / "after.flac.tlog-proof").code == 0
    assert earmark("log", "monitor").code == 0


def test_an_auditor_gets_each_row_with_its_receipt(earmark: Earmark, marked: Path, tmp_path: Path) -> None:
    """What did we generate between A and B with model M?"""
    folder = tmp_path / "receipts"
    shown = earmark("log", "list", "--json", "--state", "complete", "--receipts", folder)
    (row,) = json.loads(shown.out)
    receipt = folder / f"{row['generation_id']}.tlog-proof"
    assert earmark("log", "verify", receipt).code == 0
    assert Receipt.parse(receipt.read_bytes()).index == row["log_index"]
    assert Receipt.parse(receipt.read_bytes()).salt is None
    for none in (("--before", "2026-01-01T00:00:00Z"), ("--model", "another"), ("--state", "open")):
        assert json.loads(earmark("log", "list", "--json", *none).out) == []
