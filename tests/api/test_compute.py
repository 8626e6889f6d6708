"""Processes that compute: their numbers are ours to the last bit, and nothing depends on their being there.

They are forked in a process of its own, since that of the tests has threads, and a fork would be refused.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from api.compute import Children, Ear
from registry.fingerprint.windows import Fingerprinter
from tests.api.conftest import Server

ASSET = Path(__file__).parents[1] / "assets" / "amelia.flac"

START = f"""
import os, sys, threading, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np, torch
torch.set_num_threads(1)
from api.compute import Children, Ear
from audio import decode, edits
from registry import Registry
from registry.fingerprint.windows import Fingerprinter
from tests.api.conftest import Server
from registry.matching import prepare
from watermark import Detector, Embedder, Key

class Shelf:  # what an Ear asks of a registry: this needs no database
    fingerprinter = Fingerprinter.load()
    def prepare(self, wav_T, sample_rate, fingerprinter=None):
        return prepare(wav_T, fingerprinter or self.fingerprinter)

key = Key(bytes(16))
children = Children.fork(2, Shelf.fingerprinter)
children.set_key(key)
pids = [child.pid for child in children._all]
here, there = Ear(Detector(key), Shelf()), Ear(Detector(key), Shelf(), children)
plain_T = decode(open({str(ASSET)!r}, "rb").read()).wav_T[:120_000]
marked_T = Embedder.load(key=key).mark(plain_T, 24_000, payload=77)
unread_T = edits.apply(marked_T, "mp3_16k", seed=0)
"""

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux alone")


def run(script: str) -> str:
    """What the script prints; it must end well, and say nothing on stderr but what it logs."""
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@ON_LINUX
def test_children_answer_with_the_numbers_of_this_process() -> None:
    """A mark that is there, one that is not, a warped one, one that is not read, audio too short for
    anything, and embeddings."""
    run("""
assert len(pids) == 2
fast_T = np.interp(np.arange(0, len(marked_T), 1.1), np.arange(len(marked_T)), marked_T).astype(np.float32)
wavs = (plain_T, marked_T, fast_T, unread_T, np.zeros(100, np.float32))
found = [here.mark(wav_T) for wav_T in wavs]
assert [one.outcome.value for one in found] == ["not_found", "found", "found", "found", "inconclusive"]
assert found[2].warp.tempo != 1
assert [len(one.unread) for one in found] == [0, 0, 0, 1, 0]
assert [there.mark(wav_T) for wav_T in wavs] == found
queries = [ear.prepare(plain_T).query for ear in (here, there)]
assert np.array_equal(queries[0].emb_JD, queries[1].emb_JD) and len(queries[0].emb_JD) == 42
assert np.array_equal(queries[0].informative_J, queries[1].informative_J)
heard = there.prepare(plain_T).heard
assert heard.fingerprinter is not Shelf.fingerprinter
cut = 5_760, -11_520, 21, (0.93, 1.0, 1.075)
embedded = [one.embed(plain_T, *cut) for one in (Shelf.fingerprinter, heard.fingerprinter)]
assert embedded[0].shape == (63, 128) and np.array_equal(*embedded)
children.close()
assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
""")


@ON_LINUX
def test_what_a_child_cannot_compute_is_computed_here_and_raised_here() -> None:
    run("""
broken_T = np.full(48_000, np.nan, np.float32)
for ear in (here, there):
    try:
        ear.mark(broken_T)
        raise SystemExit("no error")
    except Exception as exc:
        assert type(exc).__name__ == "SignalError", exc
assert there.mark(marked_T) == here.mark(marked_T)
""")


@ON_LINUX
def test_children_that_are_killed_are_missed_in_speed_alone() -> None:
    """One after the other, the second while it works; nothing hangs, and it is logged."""
    said = run("""
os.kill(pids[0], 9)
assert all(there.mark(marked_T) == here.mark(marked_T) for _ in range(4))
threading.Timer(0.02, os.kill, (pids[1], 9)).start()
assert all(there.mark(plain_T) == here.mark(plain_T) for _ in range(8))
assert children._all == []
children.close()
""")
    assert said.count("a process that computes has died") == 2


@ON_LINUX
def test_children_end_with_a_parent_that_is_killed() -> None:
    """With its pipe, of which no other child may hold an end."""
    script = START + "print(*pids, flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    pids = killed.stdout.split()
    assert len(pids) == 2
    deadline_s = time.monotonic() + 10
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline_s, "a child outlived its parent"
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    """Not gone, and no zombie that waits for an init to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_children_everything_is_computed_here(server: Server) -> None:
    """A process with threads, as that of the tests, forks none; the answers are the same."""
    children = Children.fork(2, Fingerprinter.load())
    ear = Ear(server.service.detector, server.service.registry, children)
    wav_T = np.random.default_rng(0).standard_normal(60_000).astype(np.float32)
    assert children.ask(b"mark", wav_T.tobytes()) is None
    assert ear.mark(wav_T) == server.service.detector.detect(wav_T, 24_000)
    assert ear.prepare(wav_T).query is not None
    children.close()
