"""Every hypothesis about speed, tempo and pitch as folded tiles: what the pilot is correlated with.

The order, with the numbers used below:
(1) the power of every bin that a hypothesis may need, then of the bands at every pitch, in one product;
(2) its logarithm, pitch by pitch: what follows is for one pitch, and stays in the processor's cache;
(3) a tile is the mean of a few frames. Most hypotheses at a pitch share most of their tiles, so each tile is
cut and whitened across the bands once: 44,000 in 5 s, where all hypotheses together have 96,000;
(4) whitening is linear: a tile of a hypothesis is a sum of five rows of one table of (3), its own less what
is taken from the two before and the two after it. Then it is clipped and folded.

What tiles lie where depends on the length of the audio alone, and is kept for the lengths met last.
Dimension key: F frames, J bins, P pitches, K bands, U different tiles of one pitch, R hypotheses at once
(each in two phases, two rows), N whitened tiles of the longest. No key is needed for anything here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

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
    with torch.inference_mode():
        powers_FPK, floors_FP = _band_powers(_spectra(wav_T))
        log_FK = torch.empty_like(powers_FPK[:, 0])
        folded_HMK = torch.empty(len(_warps()), PERIOD_TILES, NUM_BANDS)
        first_row = 0
        for p, cut in enumerate(_cuts(len(log_FK))):
            torch.add(powers_FPK[:, p], floors_FP[:, p, None], out=log_FK).log_()  # (2)
            table_XK = _whitened_across(log_FK, cut)
            for rows in cut.rows:
                end_row = first_row + len(rows.limits_R1)
                _fold(_whitened_along(table_XK, rows), folded_HMK[first_row:end_row])
                first_row = end_row
    return _warps(), folded_HMK.reshape(len(folded_HMK), -1).numpy()


@cache
def _warps() -> tuple[Warp, ...]:
    return tuple(
        Warp(tempo, pitch) for pitch, tempos in hypotheses().items() for tempo in tempos for _ in _PHASES
    )


@dataclass(frozen=True)
class _Sums:
    """Sums of rows of a table: one of `rows` from each of `starts` to the next."""

    rows: torch.Tensor
    starts: torch.Tensor

    def of(self, table_XK: torch.Tensor) -> torch.Tensor:
        return functional.embedding_bag(self.rows, table_XK, self.starts, mode="sum")


@dataclass(frozen=True)
class _Rows:
    """Some hypotheses of one pitch: what each of their whitened tiles is a sum of, and where it is clipped,
    as a share of all of them."""

    tiles: _Sums
    limits_R1: torch.Tensor


@dataclass(frozen=True)
class _Cut:
    """The different tiles of one pitch, as sums of frames, and the hypotheses made of them."""

    tiles: _Sums
    shares_U1: torch.Tensor  # of each frame in the mean of its tile
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
    lengths_U = known_U2[:, 1] - known_U2[:, 0]
    starts_U = np.cumsum(lengths_U) - lengths_U
    frames = np.repeat(known_U2[:, 0] - starts_U, lengths_U) + np.arange(lengths_U.sum())
    shares_U1 = torch.from_numpy((1 / np.maximum(lengths_U, 1)).astype(np.float32))[:, None]
    return _Cut(_sums(frames, starts_U), shares_U1, tuple(_together(part, len(known_U2)) for part in parts))


def _sums(rows: Integers, starts: Integers) -> _Sums:
    return _Sums(torch.from_numpy(rows.astype(np.int32)), torch.from_numpy(starts.astype(np.int32)))


def _tiles(num_frames: int, tile_frames: float, phase: float) -> Integers:
    """Return the first and end frame of each whole tile [N, 2]; of one tile at least, whatever is in it."""
    num_tiles = max(1, int(num_frames / tile_frames - phase))
    edges = np.minimum(np.rint((np.arange(num_tiles + 1) + phase) * tile_frames), num_frames)
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.intp)


def _together(tiles: list[Integers], num_tiles: int) -> _Rows:
    """Side by side; the shorter ones end in rows of zeros, which is what the table of (3) ends in."""
    counts_R = np.array([max(0, len(one) - 2 * _REACH) for one in tiles], np.intp)
    rows_RNS = np.full((len(tiles), max(1, counts_R.max()), 2 * _REACH + 1), 3 * num_tiles, np.intp)
    for r, (tiles_N, count) in enumerate(zip(tiles, counts_R, strict=True)):
        for reach in range(-_REACH, _REACH + 1):
            neighbours_N = tiles_N[_REACH + reach :][:count]
            rows_RNS[r, :count, _REACH + reach] = 3 * neighbours_N + abs(reach)
    limits_R1 = (_CLIP / np.maximum(NUM_BANDS * counts_R, 1)).astype(np.float32)[:, None]
    starts = np.arange(0, rows_RNS.size, rows_RNS.shape[2])
    return _Rows(_sums(rows_RNS.ravel(), starts), torch.from_numpy(limits_R1))


def _spectra(wav_T: Floats) -> torch.Tensor:
    """Return the power of every bin that a hypothesis may need [F, J] (1)."""
    frames = torch.tensor(wav_T).unfold(0, geometry.WINDOW_SAMPLES, HOP_SAMPLES)
    hann = torch.from_numpy(features.hann_window(geometry.WINDOW_SAMPLES))
    spectrum = torch.fft.rfft(frames * hann)[:, :_NUM_BINS]
    return torch.view_as_real(spectrum).square().sum(dim=-1)


@cache
def _bands() -> torch.Tensor:
    """Return the share of each bin in each band when all frequencies are as high as each pitch [J, P K]."""
    edges_E = geometry.FIRST_BIN - 0.5 + geometry.BINS_PER_BAND * np.arange(NUM_BANDS + 1)
    edges_PE = PITCHES[:, None] * edges_E
    bins = np.arange(_NUM_BINS)[:, None, None]
    overlap = np.minimum(bins + 0.5, edges_PE[:, 1:]) - np.maximum(bins - 0.5, edges_PE[:, :-1])
    return torch.from_numpy(np.maximum(overlap, 0.0).astype(np.float32).reshape(_NUM_BINS, -1))


def _band_powers(power_FJ: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the power of the bands at every pitch [F, P, K] and what is added to it before the logarithm
    [F, P] (1), as `features.log_power`."""
    powers_FPK = (power_FJ @ _bands()).view(len(power_FJ), len(PITCHES), NUM_BANDS)
    return powers_FPK, torch.from_numpy(features.power_floor(powers_FPK.numpy().max(axis=2)))


def _whitened_across(log_FK: torch.Tensor, cut: _Cut) -> torch.Tensor:
    """Return three rows for each tile [3 U + 1, K]: less what whitening takes from its own row, then less
    what it takes for the rows +-1 and +-2 (3). The last row is zero.

    The logarithm's unit is not that of `features.log_power`: what follows knows no scale.
    """
    tiles_UK = cut.tiles.of(log_FK)
    tiles_UK *= cut.shares_U1
    table_UX = torch.empty(len(tiles_UK) + 1, 3 * NUM_BANDS)
    torch.mm(tiles_UK, _NEIGHBOURS, out=table_UX[:-1])
    table_UX[-1] = 0.0
    return table_UX.view(-1, NUM_BANDS)[: 3 * len(tiles_UK) + 1]


def _whitened_along(table_XK: torch.Tensor, rows: _Rows) -> torch.Tensor:
    """Return the whitened tiles that have all their neighbours [R, N, K], clipped, then zeros (4)."""
    white_RX = rows.tiles.of(table_XK).view(len(rows.limits_R1), -1)
    limits_R1 = white_RX.abs().sum(dim=1, keepdim=True) * rows.limits_R1
    torch.maximum(white_RX, -limits_R1, out=white_RX)  # a quarter of the time of clamp
    torch.minimum(white_RX, limits_R1, out=white_RX)
    return white_RX.view(len(white_RX), -1, NUM_BANDS)


def _fold(white_RNK: torch.Tensor, folded_RMK: torch.Tensor) -> None:
    """Add up tiles that share a row of the period, in place of whatever is there."""
    for first in range(0, white_RNK.shape[1], PERIOD_TILES):
        part_RNK = white_RNK[:, first : first + PERIOD_TILES]
        if first:
            folded_RMK[:, : part_RNK.shape[1]] += part_RNK
        else:
            folded_RMK[:, : part_RNK.shape[1]] = part_RNK
            folded_RMK[:, part_RNK.shape[1] :] = 0.0


def _neighbours() -> Iterator[Floats]:
    """Yield the matrices [K, K] of a tile less what whitening takes from its own row, and less what it takes
    from the rows +-1, then +-2."""
    bands = np.arange(NUM_BANDS)
    for row, weights in enumerate(features.KERNEL[2:]):
        matrix_KK = np.zeros((NUM_BANDS, NUM_BANDS), np.float32)
        for reach, weight in zip(range(-2, 3), weights, strict=True):
            np.add.at(matrix_KK, (np.clip(bands + reach, 0, NUM_BANDS - 1), bands), -weight)
        yield matrix_KK if row else np.eye(NUM_BANDS, dtype=np.float32) + matrix_KK


_NEIGHBOURS = torch.from_numpy(np.concatenate(list(_neighbours()), axis=1))
