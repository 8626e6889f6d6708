"""Find the pilot in audio whose speed, tempo or pitch was changed, at a stated price in certainty.

The order, with the numbers used below:
(1) of at most eight equal parts of the audio the loudest 5 s are searched, so that long audio costs no more;
(2) for every hypothesis of the grid tiles are cut at its tempo from bands at its pitch, whitened and folded;
(3) one matrix product gives the correlation with the pilot at all offsets of all hypotheses;
(4) the best is a sum with random signs, normalised as in search.py: for a wrong key its variance is 1,
whatever the audio is. Its p-value pays for every window, hypothesis and offset;
(5) only when the mark was found, the warp is refined, on the detector's own features.

To be quick, tiles in (2) begin on the nearest frame and have no weights: the score is 0.85 to 1.17 times that
of the detector's own features at the true warp (docs/LOG.md, 2026-11-25).
Dimension key: T samples, F frames, J bins, K bands, M = 3 K, N tiles, H hypotheses, O offsets in tiles.
Not covered: tempo and pitch changed by unrelated factors; two warps in one file; a warp that drifts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from watermark.keyed import features, geometry
from watermark.keyed.geometry import HOP_SAMPLES, NUM_BANDS, PERIOD_TILES, SAMPLE_RATE_HZ, TILE_FRAMES, Layout
from watermark.keyed.search import PilotSearch
from watermark.warp import Warp

Floats = npt.NDArray[np.float32]

WINDOW_SAMPLES = 5 * SAMPLE_RATE_HZ
MAX_WINDOWS = 8
TEMPOS = np.exp(0.005 * np.arange(-45, 46))  # 0.80 to 1.25; half a step is 12 ms over 5 s, and a tile has 20
PITCHES = np.exp(0.01 * np.arange(-22, 23))  # half a step moves the highest band by a quarter of its width
_TWO_SEMITONES = 2 ** (2.05 / 12)
_PHASES = (0.0, 0.5)  # where in a tile the grid of tiles may start
_FINE_TEMPO_STEPS = 0.002 * np.arange(-2, 3)  # natural logarithms; z falls by half over 0.4 % in 5 s
_FINE_SIZES = (-2, 0, 2)  # samples more or less in a frame, 0.2 % of pitch each
_CLIP = 4.625  # mean magnitudes; without weights a tighter one was not tried
_TEMPOS_AT_ONCE = 8  # their tiles fit into the cache
_NUM_BINS = 192  # what the highest band covers at the highest pitch


@dataclass(frozen=True)
class Resync:
    """The best fit of one search, and of how many it is the best. `window` is its first and end sample."""

    warp: Warp
    z: float
    window: tuple[int, int]
    num_trials: int


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


def windows(wav_T: Floats) -> list[tuple[int, int]]:
    """Return the first and end sample of each window (1); audio of less than 10 s has one."""
    num_parts = min(MAX_WINDOWS, max(1, len(wav_T) // WINDOW_SAMPLES))
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav_T[::4], dtype=np.float64))])
    edges = np.linspace(0, len(wav_T), num_parts + 1).astype(int)
    chosen = []
    for first, end in pairwise(edges):
        starts = np.arange(first, max(first, end - WINDOW_SAMPLES) + 1, SAMPLE_RATE_HZ // 2)
        ends = np.minimum(starts + WINDOW_SAMPLES, len(wav_T))
        loudest = (energy[ends // 4] - energy[starts // 4]).argmax()
        chosen.append((int(starts[loudest]), int(ends[loudest])))
    return chosen


def folds(wav_T: Floats) -> tuple[list[Warp], Floats]:
    """Return every hypothesis, once for each phase, and its folded tiles [H, 6400] (2). No key is needed."""
    power_FJ, warps, folded = _spectra(wav_T), list[Warp](), list[Floats]()
    for pitch, tempos in hypotheses().items():
        weighted_FM = _weighted_sums(power_FJ, pitch)
        for first in range(0, len(tempos), _TEMPOS_AT_ONCE):
            part = tempos[first : first + _TEMPOS_AT_ONCE]
            warps += [Warp(tempo, pitch) for tempo in part for _ in _PHASES]
            folded.append(_folds_of(weighted_FM, np.array(part)))
    return warps, np.concatenate(folded)


class ResyncSearch:
    """The search of one key for its pilot at other speeds, tempos and pitches."""

    def __init__(self, layout: Layout) -> None:
        self._search = PilotSearch(layout)
        # Column o is the pilot as a fold shows it whose row 0 is row o of the period.
        shifted = np.stack([np.roll(layout.pilot, -o, axis=0) for o in range(PERIOD_TILES)], axis=-1)
        self._pilots = np.ascontiguousarray(shifted.reshape(PERIOD_TILES * NUM_BANDS, PERIOD_TILES))

    def best(self, wav_T: Floats, enough: Callable[[float, int], bool]) -> Resync:
        """Return the best fit in the 24 kHz waveform, which is there whether or not it means anything.

        Once `enough(z, num_trials)`, no further window is searched; all are paid for.
        """
        searched = windows(wav_T)
        best: Resync | None = None
        for first, end in searched:
            warps, folded = folds(wav_T[first:end])
            h, z = self.best_fold(folded)
            num_trials = len(searched) * len(warps) * PERIOD_TILES
            if best is None or z > best.z:
                best = Resync(warps[h], z, (first, end), num_trials)
            if enough(best.z, num_trials):
                break
        assert best is not None
        return best

    def best_fold(self, folds_HN: Floats) -> tuple[int, float]:
        """Return the row of `folds_HN` that fits the pilot best at any offset (3), and its z (4)."""
        top_HO = folds_HN @ self._pilots
        # The share of pilot tiles hardly depends on the offset, so the best is chosen by the whole energy.
        energy_H1 = np.einsum("hn,hn->h", folds_HN, folds_HN)[:, None] + 1e-9
        h, o = np.unravel_index(int((top_HO / np.sqrt(energy_H1)).argmax()), top_HO.shape)
        energy = float((folds_HN[h] ** 2) @ np.abs(self._pilots[:, o]))
        return int(h), float(top_HO[h, o]) / np.sqrt(energy + 1e-9)

    def refined(self, wav_T: Floats, hit: Resync) -> Warp:
        """Return the warp of a mark that was found, to about 0.05 % of tempo and 0.2 % of pitch (5)."""
        first, end = hit.window
        part_T = wav_T[first:end]
        size = features.frame_samples(hit.warp)
        z = [self._z(part_T, Warp(hit.warp.tempo, _pitch(size + more))) for more in _FINE_SIZES]
        pitch = _pitch(size + int(_FINE_SIZES[int(np.argmax(z))]))
        part_T = wav_T[max(0, first - WINDOW_SAMPLES // 2) : end + WINDOW_SAMPLES // 2]
        z = [self._z(part_T, Warp(hit.warp.tempo * np.exp(step), pitch)) for step in _FINE_TEMPO_STEPS]
        return Warp(hit.warp.tempo * float(np.exp(_summit(_FINE_TEMPO_STEPS, z))), pitch)

    def _z(self, part_T: Floats, warp: Warp) -> float:
        return float(self._search.scores(features.tile_features(part_T, warp)).max())


def _pitch(frame_samples: int) -> float:
    return geometry.WINDOW_SAMPLES / frame_samples


def _summit(steps: npt.NDArray[np.floating], z: list[float]) -> float:
    """Return where the parabola through the best of equally spaced z and its two neighbours is highest."""
    best = int(np.clip(np.argmax(z), 1, len(z) - 2))
    left, middle, right = z[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(steps[best] + np.clip(shift, -1, 1) * (steps[1] - steps[0]))


def _spectra(wav_T: Floats) -> Floats:
    """Return the power of every bin that a hypothesis may need [F, J]."""
    frames = np.lib.stride_tricks.sliding_window_view(wav_T, geometry.WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * features.hann_window(geometry.WINDOW_SAMPLES), axis=1)[:, :_NUM_BINS]
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def _weighted_sums(power_FJ: Floats, pitch: float) -> Floats:
    """Return running sums over the frames, times `_NEIGHBOURS` [F + 1, M]: whitening is linear, so its part
    across the bands is done once for all tempos."""
    log_FK = features.log_power(power_FJ @ _bands(pitch))
    log_FK -= log_FK.mean()
    sums_FK = np.concatenate([np.zeros((1, NUM_BANDS), np.float32), np.cumsum(log_FK, axis=0)])
    return sums_FK @ _NEIGHBOURS


def _bands(pitch: float) -> Floats:
    """Return the share of each bin in each band when all frequencies are `pitch` times as high [J, K]."""
    edges = (geometry.FIRST_BIN - 0.5 + geometry.BINS_PER_BAND * np.arange(NUM_BANDS + 1)) * pitch
    bins = np.arange(_NUM_BINS)[:, None]
    overlap = np.minimum(bins + 0.5, edges[1:]) - np.maximum(bins - 0.5, edges[:-1])
    return np.asarray(np.maximum(overlap, 0.0), np.float32)


def _folds_of(weighted_FM: Floats, tempos: npt.NDArray[np.floating]) -> Floats:
    """Return tiles at each tempo and phase, whitened, clipped and folded on the period [2 tempos, 6400].

    Tiles begin and end on the nearest frame; two at each end have no neighbours and are left out. All rows
    are made side by side, the shorter ones ending in tiles of no frames that do not count.
    """
    frames_R1 = TILE_FRAMES / np.repeat(tempos, len(_PHASES))[:, None]
    phase_R1 = np.tile(_PHASES, len(tempos))[:, None]
    num_R1 = ((len(weighted_FM) - 1) / frames_R1 - phase_R1).astype(int)
    most = max(5, int(num_R1.max()))
    edge_RN = np.rint((np.minimum(np.arange(most + 1), num_R1) + phase_R1) * frames_R1).astype(np.intp)
    edge_RN = np.minimum(edge_RN, len(weighted_FM) - 1)
    sizes_RN1 = np.maximum(np.diff(edge_RN, axis=1), 1)[:, :, None].astype(np.float32)
    own, beside, beyond = np.split(np.diff(weighted_FM[edge_RN], axis=1) / sizes_RN1, 3, axis=2)
    rows_RNK = own[:, 2:-2] - beside[:, 1:-3] - beside[:, 3:-1] - beyond[:, :-4] - beyond[:, 4:]
    counts_RN1 = (np.arange(2, most - 2) < num_R1 - 2)[:, :, None]
    rows_RNK *= counts_RN1
    size_R = np.abs(rows_RNK).sum(axis=(1, 2)) / np.maximum(NUM_BANDS * counts_RN1.sum(axis=(1, 2)), 1)
    limit_R11 = _CLIP * size_R[:, None, None].astype(np.float32)
    np.clip(rows_RNK, -limit_R11, limit_R11, out=rows_RNK)
    folded = np.zeros((len(rows_RNK), PERIOD_TILES, NUM_BANDS), np.float32)
    for first in range(0, rows_RNK.shape[1], PERIOD_TILES):
        part = rows_RNK[:, first : first + PERIOD_TILES]
        folded[:, : part.shape[1]] += part
    return folded.reshape(len(folded), -1)


def _neighbours() -> Floats:
    """Return a tile less what the whitening kernel takes from its own row, then what it takes from the rows
    +-1 and +-2, side by side [K, M]."""
    matrices = np.zeros((3, NUM_BANDS, NUM_BANDS), np.float32)
    bands = np.arange(NUM_BANDS)
    for matrix, weights in zip(matrices, features.KERNEL[2:], strict=True):
        for reach, weight in zip(range(-2, 3), weights, strict=True):
            np.add.at(matrix, (np.clip(bands + reach, 0, NUM_BANDS - 1), bands), weight)
    matrices[0] = np.eye(NUM_BANDS, dtype=np.float32) - matrices[0]
    return np.concatenate(list(matrices), axis=1)


_NEIGHBOURS = _neighbours()
