"""The child and its keeper: what the child may not do, and that nothing it does reaches the server.

The hostile children below are real programs that run in the place of the decoder.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from audio import DecodeError, DecodeFailure, DecodeLimits, decode, decode_child, fork_client
from tests.audio.media import decoder_of, silent_flac, wav

DecodeWith = Callable[..., DecodeError]
HEADER = r'os.write(1, b"[\"pcm_s16le\", 24000, 1, null]\n")'


@pytest.fixture
def decode_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DecodeWith:
    """Decode a valid file with a decoder whose source is given; returns the error it ends in."""

    def run(source: str, wall_s: float = 10.0) -> DecodeError:
        with decoder_of(source, tmp_path, monkeypatch), pytest.raises(DecodeError) as caught:
            decode(wav(), DecodeLimits(wall_s=wall_s))
        return caught.value

    return run


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL"])
def test_a_crash_is_an_error_and_not_the_servers_end(name: str, decode_with: DecodeWith) -> None:
    error = decode_with(f"os.kill(os.getpid(), signal.{name})")
    assert error.reason is DecodeFailure.CRASHED


def test_a_crash_after_half_the_audio_gives_no_audio(decode_with: DecodeWith) -> None:
    error = decode_with(f"{HEADER}; os.write(1, bytes(400)); os.kill(os.getpid(), signal.SIGSEGV)")
    assert error.reason is DecodeFailure.CRASHED


def test_a_hang_ends_at_the_wall_clock(decode_with: DecodeWith) -> None:
    started = time.monotonic()
    error = decode_with("time.sleep(60)", wall_s=0.3)
    assert error.reason is DecodeFailure.TIMED_OUT
    assert time.monotonic() - started < 5


def test_a_child_that_closes_its_pipes_and_stays_is_killed(decode_with: DecodeWith) -> None:
    error = decode_with("os.close(1); os.close(2); time.sleep(60)", wall_s=0.3)
    assert error.reason is DecodeFailure.TIMED_OUT


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_the_child_started_dies_with_it(tmp_path: Path, decode_with: DecodeWith) -> None:
    """A grandchild would go on with the submitted audio in its memory."""
    note = tmp_path / "pid"
    decode_with(
        f"pid = os.fork()\nif pid == 0:\n    os.close(1); os.close(2); time.sleep(60)\n"
        f"open({str(note)!r}, 'w').write(str(pid)); os._exit(10)"
    )
    pid = int(note.read_text())
    for _ in range(100):
        state = _state_of(pid)
        if state in ("", "Z"):
            return
        time.sleep(0.02)
    pytest.fail(f"the grandchild still runs, state {state}")


def _state_of(pid: int) -> str:
    """Of a process: "" when it is gone, "Z" when nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("os.write(1, b'no header\\n')", DecodeFailure.CRASHED),
        (r"""os.write(1, b'["pcm_s16le", 24000, 0, null]\n')""", DecodeFailure.CRASHED),
        (r"""os.write(1, b'["../../x", 24000, 1, null]\n')""", DecodeFailure.CRASHED),
        (r"""os.write(1, b'["pcm_s16le", 24000, 1, null, 5]\n')""", DecodeFailure.CRASHED),
        ("os.write(1, b'{}\\n')", DecodeFailure.CRASHED),
        ("while True: os.write(1, bytes(65536))", DecodeFailure.TOO_LONG),
        (f"{HEADER}\nwhile True: os.write(1, bytes(65536))", DecodeFailure.TOO_LONG),
        ("for _ in range(400): os.write(2, bytes(65536))\nos._exit(10)", DecodeFailure.MALFORMED),
        ("os._exit(14)", DecodeFailure.EMPTY),
        ("os._exit(13)", DecodeFailure.OUT_OF_MEMORY),
        ("os._exit(99)", DecodeFailure.CRASHED),
        ("pass", DecodeFailure.CRASHED),  # a clean end without a word
    ],
)
def test_nothing_the_child_says_is_believed_unchecked(
    source: str, reason: DecodeFailure, decode_with
) -> None:
    assert decode_with(source).reason is reason


def test_the_child_sees_nothing_of_the_servers_environment(
    decode_with: DecodeWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's environment may hold the database's password."""
    monkeypatch.setenv("EARMARK_DATABASE_URL", "postgresql://user:secret@host/x")
    error = decode_with("os.write(2, repr(dict(os.environ)).encode()); os._exit(10)")
    assert "secret" not in str(error)
    assert "EARMARK" not in str(error)


def test_too_little_memory_is_an_error() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(wav(), DecodeLimits(address_space_bytes=40 * 2**20))
    assert caught.value.reason in (DecodeFailure.OUT_OF_MEMORY, DecodeFailure.CRASHED)


def test_too_much_processor_time_is_an_error() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(silent_flac(590), DecodeLimits(cpu_s=0))
    assert caught.value.reason is DecodeFailure.TIMED_OUT


def test_once_cut_off_the_child_can_open_nothing(tmp_path: Path) -> None:
    """Runs the child's own functions, then tries what an attacker would try."""
    attempt = f"""
import importlib.util, os, resource, socket, sys
spec = importlib.util.spec_from_file_location("child", {decode_child.__file__!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child.prepare({fork_client._folder_of_pyav()!r})
child._limit_resources(512 * 2**20, 5)
child._cut_off()
for what, act in {{
    "socket": lambda: socket.socket(),
    "read": lambda: open("/etc/passwd"),
    "write": lambda: open({str(tmp_path / "x")!r}, "w"),
    "pipe": lambda: os.pipe(),
}}.items():
    try:
        act()
        print(what, "allowed")
    except OSError:
        print(what, "refused")
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", attempt], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "socket refused",
        "read refused",
        "write refused",
        "pipe refused",
        "(0, 0) (0, 0)",
    ]


def test_the_child_imports_neither_numpy_nor_torch() -> None:
    """They would double the time to the first sample and the memory of every upload."""
    probe = (
        f"import runpy, sys; sys.path.append({fork_client._folder_of_pyav()!r}); "
        f"runpy.run_path({decode_child.__file__!r}); import av, av.subtitles.stream; "
        "print([name for name in ('numpy', 'torch', 'scipy', 'audio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_descriptor_is_left_behind() -> None:
    """One leaked pipe an upload ends a server after a thousand of them."""
    decode(wav())
    before = len(list(Path("/dev/fd").iterdir()))
    for data in (wav(), wav(b"\x01\x02"), wav(b"")):
        try:
            decode(data)
        except DecodeError:
            continue
    assert len(list(Path("/dev/fd").iterdir())) == before
