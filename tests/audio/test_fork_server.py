"""The fork server: what it leaves when it, its owner or a child dies, and that files never meet."""

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from audio import DecodeError, DecodeFailure, DecodeLimits, decode, fork_client
from tests.audio.media import decoder_of, running_children, wav

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def gone(pid: int) -> bool:
    """Within two seconds: dead, or a zombie whose new parent has not looked yet."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_server_that_was_killed_is_replaced_and_no_file_is_lost() -> None:
    """The kernel may choose it when memory is short; the next file must not pay for that."""
    decode(wav())
    first = fork_client.LAUNCHER.server_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert decode(wav()).source.codec == "pcm_s16le"
    assert fork_client.LAUNCHER.server_pid != first


def test_a_file_whose_server_dies_in_the_middle_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with decoder_of("time.sleep(60)", tmp_path, monkeypatch) as launcher, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decode, wav(), DecodeLimits(wall_s=30))
        while not running_children(launcher):
            time.sleep(0.01)
        server = launcher.server_pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        error = waiting.exception(timeout=10)
    assert isinstance(error, DecodeError)
    assert error.reason is DecodeFailure.CRASHED


def test_nothing_outlives_a_process_that_is_killed() -> None:
    """kill -9 of the service must leave neither the fork server nor a child with somebody's audio."""
    program = (
        "import os\n"
        "from audio.fork_client import LAUNCHER\n"
        "from audio.decode_child import OPUS_PACKETS\n"
        "reading, writing = os.pipe()\n"
        "child = LAUNCHER.launch(OPUS_PACKETS, 2**29, 20, reading)\n"
        "os.read(child.stdout, 4)\n"
        "server = LAUNCHER.server_pid\n"
        "children = open(f'/proc/{server}/task/{server}/children').read()\n"
        "print(server, children, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_files_of_many_threads_do_not_meet() -> None:
    """Every child is a copy of one process, and each must give its own file's samples."""

    def same(number: int) -> bool:
        pcm = np.full(2_400, number * 100, "<i2")
        return bool((decode(wav(pcm.tobytes())).wav_T == np.float32(number * 100 / 32_768)).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(1, 65)))


def test_what_one_child_does_to_itself_the_next_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that a crafted file has taken over ends with that file."""
    source = "sys.seen = getattr(sys, 'seen', 0) + 1; os.write(2, str(sys.seen).encode()); os._exit(10)"
    with decoder_of(source, tmp_path, monkeypatch):
        for _ in range(3):
            with pytest.raises(DecodeError, match=r"\(1\)"):
                decode(wav())


def test_a_copy_of_the_process_starts_a_server_of_its_own() -> None:
    """After a fork the two must not end each other's children."""
    decode(wav())
    before = fork_client.LAUNCHER.server_pid
    pid = os.fork()
    if pid == 0:
        ok = decode(wav()).wav_T.size > 0 and fork_client.LAUNCHER.server_pid != before
        fork_client.LAUNCHER.close()
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    decode(wav())
    assert fork_client.LAUNCHER.server_pid == before


def test_a_process_with_a_thousand_open_files_decodes() -> None:
    """A server of many connections has descriptors that `select` refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip("this account may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert decode(wav()).wav_T.size > 0
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
