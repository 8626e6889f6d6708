"""Where the mark lives: tiles of 20 ms by 150 Hz, repeated every 2.56 s, each with a role and a sign.

    tile (m, k): period row m = 0..127 (4 frames of 5 ms each), band k = 0..49 (3 STFT bins, 100 to 7600 Hz)
    role[m, k] = PILOT, or the index 0..255 of the coded payload bit that the tile carries
    sign[m, k] = +1 or -1

Both tables are drawn from the operator's key, so that without it the tiles cannot be told from noise. The
pilot is found by correlation at any of the 512 offsets of a period; the payload tiles are then read there.
Where in the period a stream begins is drawn from the key and its content id (`first_row`).
Not covered here: other speeds, which scale both axes of the grid (resync.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from watermark.keys import Key
from watermark.payload import CODED_BITS

SAMPLE_RATE_HZ = 24_000
WINDOW_SAMPLES = 480  # 20 ms: the bound on the added latency
HOP_SAMPLES = 120  # 5 ms
TILE_FRAMES = 4  # 20 ms: measured best of 10, 20, 30 and 40 ms (docs/LOG.md, 2026-11-23)
FIRST_BIN = 2  # 100 Hz
BINS_PER_BAND = 3  # 150 Hz: measured best of 50, 100, 150 and 200 Hz (docs/LOG.md, 2026-11-23)
NUM_BANDS = 50  # up to 7600 Hz: most speech in the wild was once sampled at 16 kHz
LAST_BIN = FIRST_BIN + BINS_PER_BAND * NUM_BANDS
PERIOD_TILES = 128
PERIOD_FRAMES = PERIOD_TILES * TILE_FRAMES
PERIOD_S = PERIOD_FRAMES * HOP_SAMPLES / SAMPLE_RATE_HZ  # 2.56 s
PILOT = -1
_PILOT_TILES_PER_BAND = 59  # 46 % of the tiles find the mark, 54 % carry the payload

Signs = npt.NDArray[np.float32]


def first_row(key: Key, content_id: int) -> int:
    """Return the row of the period in which the stream of this content id begins."""
    return key.stream(f"first-row/{content_id:012x}", 1)[0] % PERIOD_TILES


@dataclass(frozen=True)
class Layout:
    """One key's tables: `role` int16 [128, 50] (PILOT or coded bit) and `sign` float32 [128, 50]."""

    role: npt.NDArray[np.int16]
    sign: Signs

    @classmethod
    def of(cls, key: Key) -> Layout:
        """Draw the tables of `key`."""
        num_tiles = PERIOD_TILES * NUM_BANDS
        random = np.frombuffer(key.stream("layout", 4 * num_tiles), "<u4").reshape(NUM_BANDS, PERIOD_TILES)
        # In every band the tiles with the smallest numbers are pilots, the others carry the coded bits in
        # turn: going round band by band gives each bit tiles all over the spectrum.
        order = random.argsort(axis=1, kind="stable")
        role = np.full((NUM_BANDS, PERIOD_TILES), PILOT, np.int16)
        start = 0
        for band in range(NUM_BANDS):
            carriers = order[band, _PILOT_TILES_PER_BAND:]
            role[band, carriers] = (start + np.arange(len(carriers))) % CODED_BITS
            start += len(carriers)
        bits = np.unpackbits(np.frombuffer(key.stream("signs", num_tiles // 8), np.uint8))
        sign = (1.0 - 2.0 * bits.reshape(PERIOD_TILES, NUM_BANDS)).astype(np.float32)
        return cls(np.ascontiguousarray(role.T), sign)

    @cached_property
    def pilot(self) -> Signs:
        """The signs of the pilot tiles, zero elsewhere [128, 50]."""
        return np.where(self.role == PILOT, self.sign, 0.0).astype(np.float32)

    def starting_at(self, row: int) -> Layout:
        """Return the same tables with `row` first: what a stream shows that begins there."""
        return Layout(np.roll(self.role, -row, axis=0), np.roll(self.sign, -row, axis=0))

    def with_payload(self, codeword: npt.NDArray[np.float32]) -> Signs:
        """Return the signs that a mark with this codeword [256] shows in every tile [128, 50]."""
        modulation = np.concatenate([codeword, [1.0]]).astype(np.float32)  # index -1 is the pilot
        return self.sign * modulation[self.role]
