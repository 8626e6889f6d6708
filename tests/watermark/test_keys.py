"""The key file: whoever can read it can forge, whoever loses it can detect nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from watermark import Key, KeyFileError


def test_a_created_key_is_private_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "watermark.key"
    key = Key.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Key.load(path) == key
    assert [p.name for p in path.parent.iterdir()] == ["watermark.key"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "watermark.key"
    key = Key.create(path)
    with pytest.raises(KeyFileError, match="never overwritten"):
        Key.create(path)
    assert Key.load(path) == key


def test_the_secret_stays_out_of_the_repr() -> None:
    key = Key(bytes(range(16)))
    assert key.secret.hex() not in repr(key)
    assert "secret" not in repr(key)


def test_streams_are_pinned() -> None:
    """Guards every mark ever made: another stream means that old marks are no longer found."""
    key = Key(bytes(range(16)))
    assert key.stream("layout", 8).hex() == "5e398d2ce8a08985"
    assert key.key_id == "1c4b4159"
    assert key.stream("layout", 8) != key.stream("signs", 8)


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watermark.key"
    Key.create(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Key.load(path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"format": "earmark-watermark-key-1"}',
        b'{"format": "earmark-watermark-key-1", "key_id": "00000000", "key": "zz"}',
        b'{"format": "earmark-watermark-key-1", "key_id": "00000000", "key": "00"}',
        json.dumps({"format": "earmark-watermark-key-1", "key_id": "00000000", "key": "00" * 16}).encode(),
        json.dumps({"format": "other", "key_id": Key(bytes(16)).key_id, "key": "00" * 16}).encode(),
        json.dumps({"format": "earmark-watermark-key-1", "key_id": 1, "key": 5}).encode(),
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_key_file_is_one_clear_error(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "watermark.key"
    path.write_bytes(body)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        Key.load(path)


def test_a_missing_key_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"missing\.key"):
        Key.load(tmp_path / "missing.key")


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    """Two servers on a new data folder must not each keep a key of their own."""
    path = tmp_path / "watermark.key"
    code = (
        "import sys; from pathlib import Path; from watermark.keys import Key;"
        "print(Key.load_or_create(Path(sys.argv[1])).key_id)"
    )
    command = [sys.executable, "-c", code, str(path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    names = {child.communicate(timeout=60)[0].strip() for child in children}
    assert names == {Key.load(path).key_id}
