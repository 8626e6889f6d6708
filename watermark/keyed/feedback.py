"""What makes the embedding informed: the detector's view of our own output, and the boost that follows.

For the pilot and for each of the 256 payload bits a leaky correlation of what a detector will see is kept;
where the host has spoken against it the next tiles of that role are made deeper, where it has helped the
payload they are made shallower:

    z[role]     = sum(V * sign) / sqrt(sum(V ** 2))          over about the last 4 s
    boost[role] = clip(1 + gain * (target - z), low, high)

Causal: a tile is judged two tiles (40 ms) after it ended, when its neighbours are known. The view has a
floor 30 dB below the frame's strongest band, where the detector's is at 60 dB: what it hears is what a codec
or noise will leave, and balancing the fragile tiles instead cost a third of the payloads under Opus 12 kbit/s
(docs/LOG.md, 2026-11-23).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from watermark.keyed import features, geometry
from watermark.keyed.geometry import PERIOD_TILES, Layout
from watermark.payload import CODED_BITS

Floats = npt.NDArray[np.float32]

_FLOOR_DB = 30.0
_LEAK = 0.995  # per tile of 20 ms: a memory of 4 s
_SCALE_RATE = 0.01  # the robust scale follows the residual over about 2 s
_ROWS = len(features.KERNEL)
_MIDDLE = _ROWS // 2


@dataclass(frozen=True)
class _Control:
    """How one kind of role is steered; the figures were chosen on the training split (docs/LOG.md)."""

    gain: float
    target: float
    low: float
    high: float

    def boost(self, z: Floats) -> Floats:
        return np.asarray(np.clip(1 + self.gain * (self.target - z), self.low, self.high), np.float32)


_PILOT = _Control(gain=0.1, target=9.0, low=1.0, high=1.5)
_BIT = _Control(gain=0.3, target=1.0, low=0.6, high=1.8)


class Feedback:
    """The running view of one stream; the pilot is role 256, after the payload bits."""

    def __init__(self, layout: Layout) -> None:
        self._role_MK = np.where(layout.role == geometry.PILOT, CODED_BITS, layout.role).astype(np.intp)
        self._sum = np.zeros(CODED_BITS + 1, np.float32)
        self._energy = np.zeros(CODED_BITS + 1, np.float32)
        self._boost = np.ones(CODED_BITS + 1, np.float32)
        self._tiles = np.zeros((_ROWS, geometry.NUM_BANDS), np.float32)  # log power of the last five tiles
        self._num_tiles = 0
        self._scale = 0.3
        self._loudest = 0.0

    def boost(self, row: int) -> Floats:
        """Return the factor on the depth of each band [50] in period row `row`."""
        boost_K: Floats = self._boost[self._role_MK[row]]
        return boost_K

    def hear(self, power_FK: Floats, signs_MK: Floats) -> None:
        """Take the band power [4, 50] of the tile just ended, as it leaves; set the boosts anew."""
        self._tiles = np.roll(self._tiles, -1, axis=0)
        self._tiles[-1] = self._log_power(power_FK).mean(axis=0)
        self._num_tiles += 1
        if self._num_tiles < _ROWS:
            return
        row = (self._num_tiles - 1 - _MIDDLE) % PERIOD_TILES
        seen_K, role_K = self._whitened_middle(), self._role_MK[row]
        self._sum = _LEAK * self._sum
        self._sum += np.bincount(role_K, seen_K * signs_MK[row], CODED_BITS + 1)
        self._energy = _LEAK * self._energy
        self._energy += np.bincount(role_K, seen_K**2, CODED_BITS + 1)
        z = self._sum / np.sqrt(self._energy + 1e-3)
        self._boost = np.append(_BIT.boost(z[:-1]), _PILOT.boost(z[-1:]))

    def _log_power(self, power_FK: Floats) -> Floats:
        peak_F1 = power_FK.max(axis=1, keepdims=True)
        self._loudest = max(0.999 * self._loudest, float(peak_F1.max()))
        floor_F1 = np.maximum(peak_F1, 1e-3 * self._loudest) * 10 ** (-_FLOOR_DB / 10) + 1e-12
        return np.asarray(0.5 * np.log(power_FK + floor_F1), np.float32)

    def _whitened_middle(self) -> Floats:
        """Return the middle one of the five tiles as the detector would see it [50]."""
        padded = np.pad(self._tiles, ((0, 0), (2, 2)), mode="edge")
        neighbours = np.lib.stride_tricks.sliding_window_view(padded, _ROWS, axis=1)  # [5, 50, 5]
        residual_K = self._tiles[_MIDDLE] - np.einsum("akb,ab->k", neighbours, features.KERNEL)
        self._scale += _SCALE_RATE * (1.4826 * float(np.median(np.abs(residual_K))) - self._scale)
        seen_K = np.clip(residual_K / max(self._scale, 1e-3), -features.CLIP, features.CLIP)
        return np.asarray(seen_K, np.float32)
