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
Dimension key: F frames, K bands, J coded bits, N tiles of a bit, O offsets of a phase.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from watermark.keyed.geometry import PERIOD_FRAMES, PERIOD_TILES, PILOT, TILE_FRAMES, Layout
from watermark.keyed.search import WINDOW_FRAMES, Sync, every, fold
from watermark.payload import CODED_BITS

Floats = npt.NDArray[np.float32]

_WINDOW_FRAMES = 2 * WINDOW_FRAMES  # 10 s; less says less, and each window costs 0.03 s


def windows(num_frames: int) -> list[tuple[int, int]]:
    """Return the (first, count) frames of each window searched: 10 s every 5 s, or all of a shorter one."""
    return [(0, num_frames)] if num_frames < _WINDOW_FRAMES else every(num_frames, _WINDOW_FRAMES)


class CodewordSearch:
    """The codeword tiles of one key, ready to be searched for."""

    def __init__(self, layout: Layout) -> None:
        tiles = [np.argwhere(layout.role == j) for j in range(CODED_BITS)]
        most = max(len(of_bit) for of_bit in tiles)
        # Bits have 13 or 14 tiles; where one is missing, the first stands with a sign of zero.
        self._row_JN, self._band_JN = (
            np.array([np.resize(of_bit[:, axis], most) for of_bit in tiles]) for axis in (0, 1)
        )
        given_JN = np.array([np.arange(most) < len(of_bit) for of_bit in tiles])
        self._sign_JN = layout.sign[self._row_JN, self._band_JN] * given_JN
        assert not (layout.role[self._row_JN, self._band_JN] == PILOT).any()

    def scores(self, features_FK: Floats, first_frame: int = 0) -> Floats:
        """Return z for every offset [512]: entry g is for `offset_frames` = g."""
        by_frame = np.zeros(PERIOD_FRAMES, np.float32)
        rows_O = np.arange(PERIOD_TILES)
        for phase in range(TILE_FRAMES):
            folded = fold(features_FK, phase, first_frame)
            turned_OJN = folded[(self._row_JN - rows_O[:, None, None]) % PERIOD_TILES, self._band_JN]
            tiles_OJN = turned_OJN * self._sign_JN
            squares_OJN = tiles_OJN**2
            energy_OJ = squares_OJN.sum(axis=2)
            bits_OJ = tiles_OJN.sum(axis=2)
            fourth_O = np.einsum("ojn,ojn->o", squares_OJN, squares_OJN)
            mean_O = energy_OJ.sum(axis=1)
            variance_O = 2 * ((energy_OJ**2).sum(axis=1) - fourth_O)
            z_O = _cube_root_z((bits_OJ**2).sum(axis=1), mean_O, variance_O)
            # As in search.py: frame 0 is frame 4 o - phase of a period that starts in row o.
            by_frame[(TILE_FRAMES * rows_O - phase) % PERIOD_FRAMES] = z_O
        return by_frame

    def best(self, features_FK: Floats, first_frame: int, num_frames: int) -> Sync:
        """Return the best fit within one window of the features."""
        z = self.scores(features_FK[first_frame : first_frame + num_frames], first_frame)
        offset = int(z.argmax())
        return Sync(first_frame, num_frames, offset, float(z[offset]))


def _cube_root_z(value_O: Floats, mean_O: Floats, variance_O: Floats) -> Floats:
    """Wilson and Hilferty for a gamma variable of this mean and variance; 0 where there is nothing."""
    mean_O = np.maximum(mean_O, 1e-9)
    spread_O = np.maximum(variance_O, 1e-12) / mean_O**2 / 9
    z_O = (np.cbrt(value_O / mean_O) - (1 - spread_O)) / np.sqrt(spread_O)
    return np.asarray(np.where(variance_O > 1e-9, z_O, 0.0), np.float32)
