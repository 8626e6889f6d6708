"""Find a mark by its codeword, which nobody has told: the energy of its coded bits.

    b[j, o] = sum of sign * feature over the tiles of coded bit j, period starting at offset o
    S[o]    = sum_j b[j, o]**2

The pilot is the same in all files of a key, so whoever averages a few dozen of them has it and can take it
out of any file, unheard (benchmarks/mark_attackers.py). The codeword is another in each. Whatever it is, its
tiles agree within each bit, and S is larger than chance allows.

With the audio fixed and the signs random, S has mean M = sum_j e_j and variance V = 2 sum_j (e_j**2 - q_j)
exactly, where e_j and q_j are the sums of the tiles' squares and fourth powers: every product of two tiles
of a bit has mean 0. As a sum over 256 bits it is close to a gamma variable of the same M and V, whose cube
root is close to normal (Wilson and Hilferty, 1931): z, of which the tail is taken as of the pilot's.
Dimension key: F frames, K bands, J coded bits, P phases, M rows of the period, H frequencies along them, O
offsets of a phase.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from watermark.keyed.geometry import PERIOD_FRAMES, PERIOD_TILES, TILE_FRAMES, Layout
from watermark.keyed.search import WINDOW_FRAMES, Sync, every, fold
from watermark.payload import CODED_BITS

Floats = npt.NDArray[np.float32]

_WINDOW_FRAMES = 2 * WINDOW_FRAMES  # 10 s; less says less, and each window costs 0.008 s


def windows(num_frames: int) -> list[tuple[int, int]]:
    """Return the (first, count) frames of each window searched: 10 s every 5 s, or all of a shorter one."""
    return [(0, num_frames)] if num_frames < _WINDOW_FRAMES else every(num_frames, _WINDOW_FRAMES)


class CodewordSearch:
    """The codeword tiles of one key, ready to be searched for: 13 MB."""

    def __init__(self, layout: Layout) -> None:
        of_bit_JMK = layout.role == np.arange(CODED_BITS, dtype=layout.role.dtype)[:, None, None]
        signed = np.where(of_bit_JMK, layout.sign, 0).astype(np.float32)
        self._signs_HKJ, self._masks_HKJ = (
            np.ascontiguousarray(np.fft.rfft(plane_JMK, axis=1).transpose(1, 2, 0), np.complex64)
            for plane_JMK in (signed, np.abs(signed))
        )
        self._mask_HK1 = self._masks_HKJ.sum(axis=2, keepdims=True)

    def scores(self, features_FK: Floats, first_frame: int = 0) -> Floats:
        """Return z for every offset [512]: entry g is for `offset_frames` = g."""
        tiles_PMK = np.stack([fold(features_FK, phase, first_frame) for phase in range(TILE_FRAMES)])
        bits_OPJ = _at_offsets(tiles_PMK, self._signs_HKJ)
        energy_OPJ = np.maximum(_at_offsets(tiles_PMK**2, self._masks_HKJ), 0)
        fourth_OP = _at_offsets(tiles_PMK**4, self._mask_HK1)[..., 0]
        variance_OP = 2 * ((energy_OPJ**2).sum(axis=2) - fourth_OP)
        z_OP = _cube_root_z((bits_OPJ**2).sum(axis=2), energy_OPJ.sum(axis=2), variance_OP)
        # As in search.py: frame 0 is frame 4 o - phase of a period that starts in row o.
        offsets = (TILE_FRAMES * np.arange(PERIOD_TILES)[:, None] - np.arange(TILE_FRAMES)) % PERIOD_FRAMES
        by_frame = np.empty(PERIOD_FRAMES, np.float32)
        by_frame[offsets] = z_OP
        return by_frame

    def best(self, features_FK: Floats, first_frame: int, num_frames: int) -> Sync:
        """Return the best fit within one window of the features."""
        z = self.scores(features_FK[first_frame : first_frame + num_frames], first_frame)
        offset = int(z.argmax())
        return Sync(first_frame, num_frames, offset, float(z[offset]))


def _at_offsets(tiles_PMK: Floats, planes_HKJ: npt.NDArray[np.complex64]) -> Floats:
    """Correlate the tiles of each phase with each plane, at all offsets in tiles [128, P, J]."""
    spectrum_HPK = np.conj(np.fft.rfft(tiles_PMK, axis=1)).transpose(1, 0, 2)
    return np.asarray(np.fft.irfft(spectrum_HPK @ planes_HKJ, PERIOD_TILES, axis=0), np.float32)


def _cube_root_z(value: Floats, mean: Floats, variance: Floats) -> Floats:
    """Wilson and Hilferty for a gamma variable of this mean and variance; 0 where there is nothing."""
    mean = np.maximum(mean, 1e-9)
    spread = np.maximum(variance, 1e-12) / mean**2 / 9
    z = (np.cbrt(value / mean) - (1 - spread)) / np.sqrt(spread)
    return np.asarray(np.where(variance > 1e-9, z, 0.0), np.float32)
