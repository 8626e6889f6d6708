"""The two long computations of a detection, in processes of their own.

    children = Children.fork(num, fingerprinter)    # before the first thread; they share what is loaded
    ear = Ear(detector, registry, children)
    ear.mark(wav_T) -> watermark.Detection ; ear.prepare(wav_T) -> registry.Prepared

Two threads of one Python do the work of one core and a half, since each small call of numpy ends with a
wait for the lock that the other one holds; two processes do that of 1.8 (docs/LOG.md, 2026-11-26). A child
runs the code that would run here, on the same weights: from the answer nobody can tell which of them it was.
A child that fails or dies is not started again: what it was asked is computed here, and so is everything
once there is none. It ends when its pipe does, so also when this process is killed.

Nothing of the audio stays in a child. It gets the watermark key, as this process has it. Not covered: other
systems than Linux, and a process that has threads already: there everything is computed here.
"""

import json
import logging
import os
import queue
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from registry import Prepared, Registry
from registry.fingerprint.network import EMBEDDING_WIDTH
from registry.fingerprint.windows import Fingerprinter
from watermark import Detection, Detector, Key, MarkSegment, Outcome, Warp
from watermark.result import ScoreAt, SoftBits, Unread

log = logging.getLogger(__name__)

Wav = NDArray[np.float32]

_KEY, _MARK, _EMBED = b"key ", b"mark", b"embd"
_CUT = struct.Struct("<qqqq")  # hop, first sample, number of windows, number of pitches that follow
_DONE, _FAILED = b"+", b"-"


@dataclass(frozen=True)
class _Child:
    pid: int
    pipe: Connection


class Children:
    """Processes that compute, each for one thread at a time. Safe to share between threads."""

    def __init__(self, children: Sequence[_Child], weights_sha256: str) -> None:
        self.weights_sha256 = weights_sha256
        self._all = list(children)
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        for child in children:
            self._idle.put(child)
        if not children:
            self._idle.put(None)

    @classmethod
    def fork(cls, num: int, fingerprinter: Fingerprinter) -> "Children":
        """Start `num` children, or none where a fork is not safe: see above."""
        children: list[_Child] = []
        safe = sys.platform == "linux" and len(list(Path("/proc/self/task").iterdir())) == 1
        for _ in range(num if safe else 0):
            ours, theirs = Pipe()
            pid = os.fork()
            if pid == 0:
                ours.close()
                for other in children:  # or it would outlive this process, as long as we hold its pipe
                    other.pipe.close()
                _run_child(theirs, fingerprinter)
            theirs.close()
            children.append(_Child(pid, ours))
        return cls(children, fingerprinter.weights_sha256)

    def set_key(self, key: Key) -> None:
        """Tell every child whose mark is looked for; to be called before `ask`."""
        for child in self._all:
            self._ask(child, _KEY, key.secret)

    def ask(self, what: bytes, data: bytes) -> bytes | None:
        """A child's answer; waits for an idle one. None: there is none, or it could not."""
        child = self._idle.get()
        if child is None:
            self._idle.put(None)  # for the next who asks
            return None
        answer = self._ask(child, what, data)
        self._idle.put(child if answer is not None else self._without(child))
        return answer[1:] if answer and answer[:1] == _DONE else None

    def close(self) -> None:
        """End them, once they have answered. May be repeated."""
        for child in self._all:
            child.pipe.close()
            os.waitpid(child.pid, 0)
        self._all.clear()

    def _ask(self, child: _Child, what: bytes, data: bytes) -> bytes | None:
        try:
            child.pipe.send_bytes(what + data)
            return child.pipe.recv_bytes()
        except (OSError, EOFError):
            return None

    def _without(self, child: _Child) -> _Child | None:
        """Forget one that died; what its place among the idle ones is taken by."""
        log.error("a process that computes has died; the service goes on, more slowly: restart it")
        self._all.remove(child)
        child.pipe.close()
        os.waitpid(child.pid, 0)
        return None


@dataclass(frozen=True)
class Ear:
    """What a detection hears: in a child where there is one, else here."""

    detector: Detector
    registry: Registry
    children: Children | None = None

    def mark(self, wav_T: Wav) -> Detection:
        """As `Detector.detect`, of audio at 24 kHz."""
        answer = None if self.children is None else self.children.ask(_MARK, wav_T.tobytes())
        return self.detector.detect(wav_T, SAMPLE_RATE_HZ) if answer is None else _detection(answer)

    def prepare(self, wav_T: Wav) -> Prepared:
        """As `Registry.prepare`, of audio at 24 kHz."""
        here = self.registry.fingerprinter
        elsewhere = None if self.children is None else _Elsewhere(self.children, here)
        return self.registry.prepare(wav_T, SAMPLE_RATE_HZ, elsewhere)


@dataclass(frozen=True)
class _Elsewhere:
    """A fingerprinter whose network runs in a child of the same weights."""

    children: Children
    here: Fingerprinter

    @property
    def weights_sha256(self) -> str:
        return self.here.weights_sha256

    def embed(
        self,
        wav_T: Wav,
        hop_samples: int,
        first_sample: int,
        num_windows: int,
        pitches: Sequence[float],
    ) -> Wav:
        answer = None
        if self.children.weights_sha256 == self.here.weights_sha256:
            cut = _CUT.pack(hop_samples, first_sample, num_windows, len(pitches))
            answer = self.children.ask(_EMBED, cut + np.array(pitches).tobytes() + wav_T.tobytes())
        if answer is None:
            return self.here.embed(wav_T, hop_samples, first_sample, num_windows, pitches)
        return np.frombuffer(answer, np.float32).reshape(-1, EMBEDDING_WIDTH).copy()

    def values(self, wav_T: Wav, pitches: Sequence[float]) -> Wav:
        """Here: what a child would save is less than what the asking costs."""
        return self.here.values(wav_T, pitches)


def _run_child(pipe: Connection, fingerprinter: Fingerprinter) -> NoReturn:
    """Answer until the pipe ends. What is raised is no answer: the parent computes it again and raises it."""
    try:
        for told in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # sent to all; the parent ends us when it is done
            signal.signal(told, signal.SIG_IGN)
        torch.set_num_threads(1)
        detector: Detector | None = None
        while True:
            request = pipe.recv_bytes()
            what, data = request[:4], memoryview(request)[4:]
            try:
                if what == _KEY:
                    detector, answer = Detector(Key(bytes(data))), b""
                elif what == _MARK and detector is not None:
                    answer = _packed(detector.detect(np.frombuffer(data, np.float32), SAMPLE_RATE_HZ))
                else:
                    answer = _embedded(fingerprinter, data).tobytes()
                pipe.send_bytes(_DONE + answer)
            except Exception as exc:
                pipe.send_bytes(_FAILED + repr(exc).encode())
    finally:
        os._exit(0)  # nothing of the parent's is to be cleaned up here


def _embedded(fingerprinter: Fingerprinter, data: memoryview) -> Wav:
    hop_samples, first_sample, num_windows, num_pitches = _CUT.unpack(data[: _CUT.size])
    pitches = np.frombuffer(data[_CUT.size :], np.float64, num_pitches)
    wav_T = np.frombuffer(data[_CUT.size + pitches.nbytes :], np.float32).copy()  # torch wants to own it
    return fingerprinter.embed(wav_T, hop_samples, first_sample, num_windows, pitches.tolist())


def _packed(found: Detection) -> bytes:
    return json.dumps(asdict(found)).encode()


def _detection(packed: bytes) -> Detection:
    found = json.loads(packed)
    found["outcome"] = Outcome(found["outcome"])
    found["warp"] = Warp(**found["warp"])
    found["segments"] = tuple(MarkSegment(**one) for one in found["segments"])
    found["scores"] = tuple(ScoreAt(**one) for one in found["scores"])
    found["unread"] = tuple(
        Unread(tuple(map(_soft_bits, one["tries"])), one["offset_frames"]) for one in found["unread"]
    )
    return Detection(**found)


def _soft_bits(packed: dict[str, Any]) -> SoftBits:
    return SoftBits(packed["pilot_z"], tuple(packed["bits"]))
