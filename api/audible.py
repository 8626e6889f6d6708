"""Where audio is loud enough to carry evidence, and how much of that a set of spans covers.

    audible[f] = level_db[f] > max(SILENCE_DB, p95(level_db) - RANGE_DB)        f: frames of 20 ms

Silence carries no mark and no fingerprint, so "the whole audio agrees" is asked of the audible part alone.
Dimension key: T samples, F frames. Not covered: telling speech from noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ

FRAME_SAMPLES = 480  # 20 ms
SILENCE_DB = -70.0  # below the noise floor of 12-bit audio
RANGE_DB = 35.0  # speech spans about 30 dB from its loud to its soft sounds (ITU-T P.56 measures within 16)


@dataclass(frozen=True)
class Audible:
    """Which 20 ms frames are audible."""

    audible_F: NDArray[np.bool_]

    @property
    def duration_s(self) -> float:
        """How much of the audio is audible, in seconds."""
        return float(self.audible_F.sum()) * FRAME_SAMPLES / SAMPLE_RATE_HZ

    def covered(self, spans: Iterable[tuple[float, float]]) -> float:
        """The fraction (0 to 1) of the audible part inside the union of spans (start_s, end_s)."""
        num_audible = int(self.audible_F.sum())
        if num_audible == 0:
            return 0.0
        inside_F = np.zeros(len(self.audible_F), dtype=np.bool_)
        for start_s, end_s in spans:
            first, end = (max(0, round(at_s * SAMPLE_RATE_HZ / FRAME_SAMPLES)) for at_s in (start_s, end_s))
            inside_F[first:end] = True
        return float((inside_F & self.audible_F).sum()) / num_audible


def audible(wav_T: NDArray[np.float32]) -> Audible:
    """Mark off the audible frames of a waveform at 24 kHz; a last frame that is not full is left out."""
    F = len(wav_T) // FRAME_SAMPLES
    frames_FT = wav_T[: F * FRAME_SAMPLES].reshape(F, FRAME_SAMPLES)
    power_F = np.einsum("ft,ft->f", frames_FT, frames_FT, dtype=np.float64) / FRAME_SAMPLES
    if F == 0:
        return Audible(np.zeros(0, dtype=np.bool_))
    level_db_F = 10 * np.log10(power_F + 1e-20)
    limit_db = max(SILENCE_DB, float(np.percentile(level_db_F, 95)) - RANGE_DB)
    return Audible(level_db_F > limit_db)
