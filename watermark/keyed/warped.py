"""Every hypothesis about speed, tempo and pitch as folded tiles: what the pilot is correlated with.

The order, with the numbers used below:
(1) the power of every bin that a hypothesis may need, then of the bands at every pitch, in one product;
(2) its logarithm, as running sums over the frames, of which a tile is a difference;
(3) a tile is a span of frames. Most hypotheses at a pitch share most of their tiles, so each tile is cut and
whitened across the bands once: 44,000 in 5 s, where all hypotheses together have 96,000;
(4) whitening is linear: a tile of a hypothesis is its own less what is taken from the two before and the two
after it, which are three tables of (3) to pick from. Then it is clipped and folded.

What tiles lie where depends on the length of the audio alone, and is kept for the lengths met last.
Dimension key: F frames, J bins, P pitches, K bands, U different tiles of one pitch, R hypotheses at once
(each in two phases, two rows), N tiles of the longest. No key is needed for anything here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from watermark.keyed import features, geometry
from watermark.keyed.geometry import HOP_SAMPLES, NUM_BANDS, PERIOD_TILES, TILE_FRAMES
from watermark.warp import Warp

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]

TEMPOS = np.exp(0.005 * np.arange(-45, 46))  # 0.80 to 1.25; half a step is 12 ms over 5 s, and a tile has 20
PITCHES = np.exp(0.01 * np.arange(-22, 23))  # half a step moves the highest band by a quarter of its width
_TWO_SEMITONES = 2 ** (2.05 / 12)
_PHASES = (0.0, 0.5)  # where in a tile the grid of tiles may start
_CLIP = 4.625  # mean magnitudes; without weights a tighter one was not tried
_REACH = 2  # tiles before and after that whitening asks for; those at the ends have none
_ROWS_AT_ONCE = 8  # their tiles fit into the cache
_NUM_BINS = 192  # what the highest band covers at the highest pitch
_BLOCK_FRAMES = 32  # added up side by side; near the square root of a window's frames


@cache
def hypotheses() -> dict[float, list[float]]:
    """Return the grid, as the tempos to try at each pitch: stretches, changes of speed, changes of pitch."""
    tempos_of: dict[float, set[float]] = {float(pitch): set() for pitch in PITCHES}
    for tempo in TEMPOS[TEMPOS != 1]:
        nearest = np.abs(np.log(PITCHES / tempo)).argmin()
        tempos_of[float(PITCHES[nearest])].add(float(tempo))
        tempos_of[1.0].add(float(tempo))
    for pitch in PITCHES[PITCHES != 1]:
        if 1 / _TWO_SEMITONES <= pitch <= _TWO_SEMITONES:
            tempos_of[float(pitch)].add(1.0)
    return {pitch: sorted(tempos) for pitch, tempos in tempos_of.items()}


def folds(wav_T: Floats) -> tuple[tuple[Warp, ...], Floats]:
    """Return every hypothesis, once for each phase, and its folded tiles [H, 6400].

    `wav_T` is 24 kHz audio, at least a frame of it.
    """
    sums_FPK = _running_sums(_spectra(wav_T))
    folded_HMK = np.zeros((len(_warps()), PERIOD_TILES, NUM_BANDS), np.float32)
    first_row = 0
    for p, cut in enumerate(_cuts(len(sums_FPK) - 1)):
        tables = _whitened_across(sums_FPK[:, p], cut)
        for rows in cut.rows:
            end_row = first_row + len(rows.counts_R)
            _fold(_whitened_along(tables, rows), folded_HMK[first_row:end_row])
            first_row = end_row
    return _warps(), folded_HMK.reshape(len(folded_HMK), -1)


@cache
def _warps() -> tuple[Warp, ...]:
    return tuple(
        Warp(tempo, pitch) for pitch, tempos in hypotheses().items() for tempo in tempos for _ in _PHASES
    )


@dataclass(frozen=True)
class _Rows:
    """Some hypotheses of one pitch: which of its tiles each has, and how many have neighbours."""

    tiles_RN: Integers
    counts_R: Integers


@dataclass(frozen=True)
class _Cut:
    """The different tiles of one pitch, frames `begins_U` to `ends_U`, and the hypotheses made of them."""

    begins_U: Integers
    ends_U: Integers
    shares_U1: Floats  # of a tile's frames in its mean
    rows: tuple[_Rows, ...]


@lru_cache(maxsize=4)
def _cuts(num_frames: int) -> tuple[_Cut, ...]:
    """Return how audio of that many frames is cut (3), for each pitch; tiles begin on the nearest frame."""
    return tuple(_cut(num_frames, tempos) for tempos in hypotheses().values())


def _cut(num_frames: int, tempos: list[float]) -> _Cut:
    spans = [_tiles(num_frames, TILE_FRAMES / tempo, phase) for tempo in tempos for phase in _PHASES]
    known_U2, which = np.unique(np.concatenate(spans), axis=0, return_inverse=True)
    tiles = np.split(which.ravel(), np.cumsum([len(span) for span in spans])[:-1])
    parts = (tiles[first : first + _ROWS_AT_ONCE] for first in range(0, len(tiles), _ROWS_AT_ONCE))
    begins_U, ends_U = known_U2.T.copy()
    shares_U1 = (1 / np.maximum(ends_U - begins_U, 1)).astype(np.float32)[:, None]
    return _Cut(begins_U, ends_U, shares_U1, tuple(_together(part) for part in parts))


def _tiles(num_frames: int, tile_frames: float, phase: float) -> Integers:
    """Return the first and end frame of each whole tile [N, 2]; of one tile at least, whatever is in it."""
    num_tiles = max(1, int(num_frames / tile_frames - phase))
    edges = np.minimum(np.rint((np.arange(num_tiles + 1) + phase) * tile_frames), num_frames)
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.intp)


def _together(tiles: list[Integers]) -> _Rows:
    """Side by side; the shorter ones end in tiles that do not count."""
    tiles_RN = np.zeros((len(tiles), max(2 * _REACH, *map(len, tiles))), np.intp)
    for r, tiles_N in enumerate(tiles):
        tiles_RN[r, : len(tiles_N)] = tiles_N
    return _Rows(tiles_RN, np.array([max(0, len(one) - 2 * _REACH) for one in tiles], np.intp))


def _spectra(wav_T: Floats) -> Floats:
    """Return the power of every bin that a hypothesis may need [F, J] (1)."""
    frames = np.lib.stride_tricks.sliding_window_view(wav_T, geometry.WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * features.hann_window(geometry.WINDOW_SAMPLES), axis=1)[:, :_NUM_BINS]
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


@cache
def _bands() -> Floats:
    """Return the share of each bin in each band when all frequencies are as high as each pitch [J, P K]."""
    edges_E = geometry.FIRST_BIN - 0.5 + geometry.BINS_PER_BAND * np.arange(NUM_BANDS + 1)
    edges_PE = PITCHES[:, None] * edges_E
    bins = np.arange(_NUM_BINS)[:, None, None]
    overlap = np.minimum(bins + 0.5, edges_PE[:, 1:]) - np.maximum(bins - 0.5, edges_PE[:, :-1])
    return np.asarray(np.maximum(overlap, 0.0), np.float32).reshape(_NUM_BINS, -1)


def _running_sums(power_FJ: Floats) -> Floats:
    """Return the running sums of ln(power + floor) over the frames [F + 1, P, K] (2).

    As `features.log_power`, in other units: what follows knows no scale. What is taken off, about
    the mean, keeps the sums small; whitening would take it off too.
    """
    num_frames, num_blocks = len(power_FJ), -(-len(power_FJ) // _BLOCK_FRAMES)
    log_FPK = np.empty((num_blocks * _BLOCK_FRAMES, len(PITCHES), NUM_BANDS), np.float32)
    log_FPK[num_frames:] = 0.0
    heard_FPK = log_FPK[:num_frames]
    np.matmul(power_FJ, _bands(), out=heard_FPK.reshape(num_frames, -1))
    heard_FPK += features.power_floor(heard_FPK.max(axis=2))[:, :, None]
    np.log(heard_FPK, out=heard_FPK)
    heard_FPK -= heard_FPK[::_BLOCK_FRAMES].mean()
    sums_FPK = np.empty((len(log_FPK) + 1, *log_FPK.shape[1:]), np.float32)
    sums_FPK[0] = 0.0
    _accumulate(
        log_FPK.reshape(num_blocks, _BLOCK_FRAMES, -1), sums_FPK[1:].reshape(num_blocks, _BLOCK_FRAMES, -1)
    )
    return sums_FPK[: num_frames + 1]


def _accumulate(terms_BFX: Floats, sums_BFX: Floats) -> None:
    """As np.cumsum over blocks and their frames, which goes column by column and takes six times as long."""
    sums_BFX[:, 0] = terms_BFX[:, 0]
    for f in range(1, _BLOCK_FRAMES):
        np.add(sums_BFX[:, f - 1], terms_BFX[:, f], out=sums_BFX[:, f])
    for before_FX, block_FX in pairwise(sums_BFX):
        block_FX += before_FX[-1]


def _whitened_across(sums_FK: Floats, cut: _Cut) -> list[Floats]:
    """Return each tile [U, K] three times: less what whitening takes from its own row, then what it takes
    for the rows +-1 and +-2 (3)."""
    tiles_UK = sums_FK[cut.ends_U]
    tiles_UK -= sums_FK[cut.begins_U]
    tiles_UK *= cut.shares_U1
    return [tiles_UK @ weights_KK for weights_KK in _NEIGHBOURS]


def _whitened_along(tables: list[Floats], rows: _Rows) -> Floats:
    """Return the whitened tiles that have all their neighbours [R, N - 4, K], then zeros (4)."""
    own, beside, beyond = tables
    white_RNK = np.take(own, rows.tiles_RN[:, 2:-2], axis=0)
    near_RNK = np.take(beside, rows.tiles_RN[:, 1:-1], axis=0)
    white_RNK -= near_RNK[:, :-2]
    white_RNK -= near_RNK[:, 2:]
    far_RNK = np.take(beyond, rows.tiles_RN, axis=0)
    white_RNK -= far_RNK[:, :-4]
    white_RNK -= far_RNK[:, 4:]
    for r, count in enumerate(rows.counts_R):
        white_RNK[r, count:] = 0.0
    return _clipped(white_RNK, rows.counts_R)


def _clipped(white_RNK: Floats, counts_R: Integers) -> Floats:
    flat_RN = white_RNK.reshape(len(white_RNK), -1)
    mean_R = np.abs(flat_RN).sum(axis=1) / np.maximum(NUM_BANDS * counts_R, 1)
    limit_R1 = (_CLIP * mean_R).astype(np.float32)[:, None]
    np.clip(flat_RN, -limit_R1, limit_R1, out=flat_RN)
    return white_RNK


def _fold(white_RNK: Floats, folded_RMK: Floats) -> None:
    """Add up tiles that share a row of the period, into zeros."""
    for first in range(0, white_RNK.shape[1], PERIOD_TILES):
        part_RNK = white_RNK[:, first : first + PERIOD_TILES]
        folded_RMK[:, : part_RNK.shape[1]] += part_RNK


def _neighbours() -> Iterator[Floats]:
    """Yield the matrices [K, K] of a tile less what whitening takes from its own row, and of what it takes
    from the rows +-1, then +-2."""
    bands = np.arange(NUM_BANDS)
    for row, weights in enumerate(features.KERNEL[2:]):
        matrix_KK = np.zeros((NUM_BANDS, NUM_BANDS), np.float32)
        for reach, weight in zip(range(-2, 3), weights, strict=True):
            np.add.at(matrix_KK, (np.clip(bands + reach, 0, NUM_BANDS - 1), bands), weight)
        yield matrix_KK if row else np.eye(NUM_BANDS, dtype=np.float32) - matrix_KK


_NEIGHBOURS = tuple(_neighbours())
