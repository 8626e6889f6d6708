"""A speaker in the place of the model, where the model itself is not what is tested: it repeats a recording.

Strict: it fails the test when the stage breaks the contract of `generation.Dialogue` (one thread, frames of
1920 finite samples, rows that are open).
"""

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from audio import decode
from generation import Sampling, Spoken
from tests.api.conftest import recording

FRAME_SAMPLES = 1920


class Parrot:
    """Each row says `amelia` from its beginning, and a word with every frame."""

    name = "parrot"

    def __init__(self, num_streams: int = 1, step_s: float = 0.0) -> None:
        self.num_streams = num_streams
        self.step_s = step_s
        self.heard: dict[int, list[NDArray[np.float32]]] = {}  # by row, of its present session
        self.batches: list[list[int]] = []
        self.opened: list[tuple[int, int | None, Sampling]] = []
        self.on_step: Callable[[], None] = lambda: None
        self.word = " word"
        wav_T = decode(recording("amelia")).wav_T
        self._lines_FT = wav_T[: len(wav_T) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        self._thread: int | None = None

    def open(self, *, seed: int | None = None, sampling: Sampling | None = None) -> int:
        self._same_thread()
        row = min(set(range(self.num_streams)) - self.heard.keys())
        self.heard[row] = []
        self.opened.append((row, seed, sampling or Sampling()))
        return row

    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, Spoken]:
        self._same_thread()
        self.on_step()
        time.sleep(self.step_s)
        self.batches.append(sorted(frames))
        said = {}
        for row, frame_T in frames.items():
            assert frame_T.shape == (FRAME_SAMPLES,) and frame_T.dtype == np.float32
            assert np.isfinite(frame_T).all()
            at = len(self.heard[row])
            self.heard[row].append(frame_T)
            if at:  # the first frame warms up
                said[row] = Spoken(self.word, self._lines_FT[(at - 1) % len(self._lines_FT)])
        return said

    def close(self, row: int) -> None:
        self._same_thread()
        del self.heard[row]

    def _same_thread(self) -> None:
        self._thread = self._thread or threading.get_ident()
        assert threading.get_ident() == self._thread, "the model was called from two threads"
