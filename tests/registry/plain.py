"""A fingerprinter for storage tests: exact, without weights and without torch, and strict about its use.

The code of a window is a hash of its samples, so a wrong, missing or doubled window cannot look right.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from registry.packing import unpack_codes

WINDOW_SAMPLES, HOP_SAMPLES = 24_000, 11_520


@dataclass(frozen=True)
class PlainWindows:
    first_window: int
    codes_ND: NDArray[np.int8]
    signs_NB: NDArray[np.uint8]
    informative_N: NDArray[np.bool_]


@dataclass
class PlainState:
    samples: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    num_given: int = 0
    is_flushed: bool = False


class PlainFingerprinter:
    def open(self) -> PlainState:
        return PlainState()

    def push(self, state: PlainState, wav_T: NDArray[np.float32]) -> PlainWindows:
        assert not state.is_flushed, "pushed after the flush"
        state.samples = np.concatenate([state.samples, wav_T])
        return self._give(state, num_windows(len(state.samples)))

    def flush(self, state: PlainState) -> PlainWindows:
        """One more window, padded with zeros, when samples are left that no window holds."""
        assert not state.is_flushed, "flushed twice"
        state.is_flushed = True
        covered = (state.num_given - 1) * HOP_SAMPLES + WINDOW_SAMPLES if state.num_given else 0
        return self._give(state, state.num_given + (len(state.samples) > covered))

    def _give(self, state: PlainState, num_total: int) -> PlainWindows:
        first, state.num_given = state.num_given, num_total
        codes = [window_code(state.samples, number) for number in range(first, num_total)]
        codes_ND = np.stack(codes) if codes else np.zeros((0, 128), dtype=np.int8)
        signs_NB = np.ascontiguousarray(codes_ND[:, :64]).view(np.uint8)
        return PlainWindows(first, codes_ND, signs_NB, np.ones(len(codes_ND), dtype=np.bool_))


def num_windows(num_samples: int) -> int:
    """Whole windows in so many samples."""
    return max((num_samples - WINDOW_SAMPLES) // HOP_SAMPLES + 1, 0)


def window_code(wav_T: NDArray[np.float32], number: int) -> NDArray[np.int8]:
    window = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
    samples = wav_T[number * HOP_SAMPLES : number * HOP_SAMPLES + WINDOW_SAMPLES]
    window[: len(samples)] = samples
    return unpack_codes(hashlib.shake_128(window.tobytes()).digest(64), 1)[0]


def speech(num_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)
