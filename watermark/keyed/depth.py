"""How deep the mark may go in each tile: a masking threshold per band and frame, and silence left alone.

    masker[f, k] = max(critical band around k in frame f, masker[f - 1, k] * exp(-5 ms / 200 ms))
    by_ear       = cap[k] * (power[f, k] / masker[f, k]) ** -0.3                  never above most[k]
    by_energy    = 0.0315 * (power[f, k] / strongest band of the frame) ** -0.44
    depth[f, k]  = min(by_ear, by_energy) * quiet[f]                              nepers

Two budgets, each spent where it buys most. What the signal-to-noise ratio pays for a tile is its share of the
frame, so weak bands go deeper. What the ear pays, and STOI, which follows a third of an octave over 0.4 s, is
the tile's share of what it heard there in the last fifth of a second: a tile below its masker goes deeper,
the peak of a band does not. Frames 45 dB below the loudest of the last ten seconds fade to nothing: a pause
is left as it was.

Causal: a frame needs those before it. Dimension key: F frames, K bands.
Source: simultaneous masking by critical bands and decay of forward masking as in Fastl & Zwicker,
Psychoacoustics, 3rd ed., ch. 4 and 6; differs: a third of an octave stands for the critical band, one slope
for the spreading, and the constants are those that won on validation speakers (docs/LOG.md, 2026-11-26).
Not covered: tonality, and maskers that come after the tile (pre-masking), which would cost latency.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from watermark.keyed import geometry
from watermark.keyed.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_FRAME_S = HOP_SAMPLES / SAMPLE_RATE_HZ
_ENERGY_DEPTH, _ENERGY_TILT = 0.0315, 0.44
_EAR_TILT = 0.3
_MASKER_S = 0.2
_LOUDEST_S = 10.0
_QUIET_DB = 45.0
_SILENCE = 1e-12  # power; below it nothing is heard and nothing divided
# Bands below 1.3 kHz, below 4.3 kHz and above: STOI listens up to 4.3 kHz only (docs/LOG.md).
_REGIONS = [8, 20, geometry.NUM_BANDS - 28]
_CAP_K = np.repeat(np.array([0.039, 0.0485, 0.58], np.float32), _REGIONS)
_MOST_K = np.repeat(np.array([0.24, 0.29, 0.58], np.float32), _REGIONS)


def _critical_bands() -> Floats:
    """Return the share of each band in the third of an octave around each, at least itself [K, K]."""
    width_hz = geometry.BINS_PER_BAND * SAMPLE_RATE_HZ / geometry.WINDOW_SAMPLES
    low_hz = (geometry.FIRST_BIN - 0.5) * SAMPLE_RATE_HZ / geometry.WINDOW_SAMPLES
    edge_hz = low_hz + width_hz * np.arange(geometry.NUM_BANDS + 1)
    centre_hz = (edge_hz[1:] + edge_hz[:-1]) / 2
    reach_hz = np.maximum(width_hz / 2, (2 ** (1 / 6) - 2 ** (-1 / 6)) / 2 * centre_hz)
    overlap = np.minimum(edge_hz[1:, None], centre_hz + reach_hz) - np.maximum(
        edge_hz[:-1, None], centre_hz - reach_hz
    )
    return np.asarray(np.maximum(overlap, 0.0) / width_hz, np.float32)


_CRITICAL_KK = _critical_bands()


class Depth:
    """The running masker and loudness of one stream."""

    def __init__(self) -> None:
        self._masker_K = np.full(geometry.NUM_BANDS, np.log(_SILENCE))
        self._loudest = np.full(1, np.log(_SILENCE))

    def of(self, power_FK: Floats) -> Floats:
        """Return the depth of each band of the next frames [F, K] in nepers, from their power [F, K]."""
        power_FK = power_FK + np.float32(_SILENCE)
        own_FK = np.log(power_FK)
        peak_F1 = own_FK.max(axis=1, keepdims=True)
        masker_FK = _decaying_maximum(np.log(power_FK @ _CRITICAL_KK), self._masker_K, _MASKER_S)
        loudest_F1 = _decaying_maximum(peak_F1, self._loudest, _LOUDEST_S)
        self._masker_K, self._loudest = masker_FK[-1], loudest_F1[-1]
        by_energy = _ENERGY_DEPTH * np.exp(_ENERGY_TILT * (peak_F1 - own_FK))
        by_ear = np.minimum(_CAP_K * np.exp(_EAR_TILT * (masker_FK - own_FK)), _MOST_K)
        above_quiet = peak_F1 - loudest_F1 + _QUIET_DB / 10 * np.log(10)
        quiet = np.exp(np.minimum(above_quiet, 0.0) / 2)  # as much below the level as the frame is
        return np.asarray(np.minimum(by_energy, by_ear) * quiet, np.float32)


def _decaying_maximum(log_FN: npt.NDArray[np.floating], before_N: Doubles, seconds: float) -> Doubles:
    """Return at each frame the largest log power so far, each fallen by its age / `seconds` [F, N]."""
    fall_F1 = (_FRAME_S / seconds) * np.arange(1, len(log_FN) + 1, dtype=np.float64)[:, None]
    risen = np.maximum.accumulate(np.vstack([before_N, log_FN + fall_F1]), axis=0)
    return np.asarray(risen[1:] - fall_F1, np.float64)
