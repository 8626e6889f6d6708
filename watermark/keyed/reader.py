"""How much each tile says about the mark: a small network that hears the tile among its neighbours.

    evidence[f, k] = weight * tanh(slope * (R[f, k] + correction) / 2)       all three by the network

R is what linear prediction leaves of a tile (features.py). Two convolutions over time and bands decide what
it is worth where it stands: below a codec's floor little, in a steady vowel much, beside a tile that did the
opposite more. The weights were fitted to attacked, marked speech of training speakers, whose keys and content
ids are drawn anew: `python -m watermark.train.reader`.

**No key goes in.** The evidence is a function of the audio alone, its size bounded, so for a random key its
correlation with the pilot has mean 0 and variance 1 exactly, whatever the network is (decisions 0008, 0029).

Inputs of each tile, all free of gain (logarithms to base 10 of power): below the frame's strongest band;
above the band's noise floor; below its loudest; the frame below the loud frames; the band, and its square;
mean |R| around it; R.
Dimension key: F frames of 5 ms, K bands, C channels. A neighbour in time is a tile, four frames, away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from watermark.keyed.geometry import NUM_BANDS, TILE_FRAMES

Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
NUM_INPUTS = 8
MAX_LOG_WEIGHT = 3.0
MAX_RESIDUAL = 4.0  # robust scales
_TYPICAL = np.array([-1.5, 0.8, -0.8, 0.5, 0.33, 0.7, -1.0, 0.0], np.float32)  # taken off the inputs
_SILENCE = 1e-12
_BLOCK_FRAMES = 1000  # five seconds at a time stay in cache


def inputs(power_FK: Floats, residual_FK: Floats, peak_F: Floats) -> Floats:
    """Return the network's view of every tile [F, K, 8].

    Args: power_FK mean power of the tiles; residual_FK their R in robust scales; peak_F each row's largest
    power.
    """
    log_FK = np.log10(power_FK + np.float32(_SILENCE))
    peak_F1 = np.log10(peak_F + np.float32(_SILENCE))[:, None]
    floor_K, loud_K = np.percentile(log_FK, [10, 95], axis=0)
    level_F1 = peak_F1 - np.percentile(peak_F1, 95)
    band_K = np.arange(NUM_BANDS) / NUM_BANDS
    seen = np.empty((*power_FK.shape, NUM_INPUTS), np.float32)
    seen[..., 0] = np.clip(log_FK - peak_F1, -6, 0)
    seen[..., 1] = np.clip(log_FK - floor_K, -1, 5) / 2
    seen[..., 2] = np.clip(level_F1, -6, 1)
    seen[..., 3] = band_K
    seen[..., 4] = band_K**2
    seen[..., 5] = _mean_around(np.minimum(np.abs(residual_FK), MAX_RESIDUAL))
    seen[..., 6] = np.clip(log_FK - loud_K, -6, 1)
    seen[..., 7] = np.clip(residual_FK, -MAX_RESIDUAL, MAX_RESIDUAL)
    return seen - _TYPICAL


def _mean_around(size_FK: Floats) -> Floats:
    """Return the mean of the eight tiles around each; edges repeat the border."""
    F, K = size_FK.shape
    padded = np.pad(size_FK, ((TILE_FRAMES, TILE_FRAMES), (1, 1)), mode="edge")
    across = padded[:, :K] + padded[:, 1 : K + 1] + padded[:, 2:]
    total = across[:F] + across[TILE_FRAMES : TILE_FRAMES + F] + across[2 * TILE_FRAMES :]
    return np.asarray((total - size_FK) / 8, np.float32)


@dataclass(frozen=True)
class Reader:
    """The network's weights; no state, safe to share by threads. `taps`: [time, bands * in, out]."""

    first_taps: Floats
    first_bias: Floats
    second_taps: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats
    sha256: str  # of the file

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        """Read the weights from safetensors; what they must be: `watermark.train.reader.Network`."""
        data = path.read_bytes()
        tensors = load(data)
        return cls(
            _taps(tensors["first.weight"]),
            tensors["first.bias"],
            _taps(tensors["second.weight"]),
            tensors["second.bias"],
            np.ascontiguousarray(tensors["last.weight"][:, :, 0, 0].T),
            tensors["last.bias"],
            hashlib.sha256(data).hexdigest(),
        )

    def evidence(self, power_FK: Floats, residual_FK: Floats, peak_F: Floats) -> Floats:
        """Return what each tile says [F, K], within +-exp(3). Arguments as of `inputs`."""
        seen = inputs(power_FK, residual_FK, peak_F)
        out = np.empty_like(residual_FK, np.float32)
        for start in range(0, len(seen), _BLOCK_FRAMES):
            stop = min(len(seen), start + _BLOCK_FRAMES)
            weight, slope, correction = np.moveaxis(self._network(seen, start, stop), -1, 0)
            bent = np.tanh((residual_FK[start:stop] + correction) * np.exp(slope) / 2)
            out[start:stop] = np.exp(np.minimum(weight, MAX_LOG_WEIGHT)) * bent
        return out

    def _network(self, seen: Floats, start: int, stop: int) -> Floats:
        """Return the three outputs of the frames from start to stop [stop - start, K, 3]."""
        reach1 = TILE_FRAMES * (len(self.first_taps) // 2)
        reach2 = TILE_FRAMES * (len(self.second_taps) // 2)
        around = _rows(seen, start - reach1 - reach2, stop + reach1 + reach2)
        hidden = np.maximum(_convolve(around, self.first_taps) + self.first_bias, 0)
        hidden[: max(0, reach2 - start)] = 0  # beyond the audio there is nothing, not what bias makes of it
        hidden[len(hidden) - max(0, stop + reach2 - len(seen)) :] = 0
        hidden = np.maximum(_convolve(hidden, self.second_taps) + self.second_bias, 0)
        return np.asarray(hidden @ self.last + self.last_bias, np.float32)


@cache
def shipped() -> Reader:
    """Return the reader that comes with the package, read once."""
    return Reader.load()


def _taps(weight: Floats) -> Floats:
    """[out, in, time, frequency] as a matrix for each step in time [time, frequency * in, out]."""
    taps = weight.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(taps.reshape(len(taps), -1, weight.shape[0]))


def _rows(seen: Floats, first: int, end: int) -> Floats:
    """Return rows first to end, zeros where there are none."""
    inside = seen[max(0, first) : end]
    return np.pad(inside, ((max(0, -first), max(0, end - len(seen))), (0, 0), (0, 0)))


def _convolve(x_FKC: Floats, taps: Floats) -> Floats:
    """Convolve over bands, zeros beyond the edges, and over tiles, whole neighbourhoods only."""
    F, K, C = x_FKC.shape
    reach = taps.shape[1] // C // 2
    padded = np.pad(x_FKC, ((0, 0), (reach, reach), (0, 0)))
    columns = np.concatenate([padded[:, j : j + K] for j in range(2 * reach + 1)], axis=2)
    rows = F - TILE_FRAMES * (len(taps) - 1)
    out = np.zeros((rows * K, taps.shape[2]), np.float32)
    for i, tap in enumerate(taps):
        out += columns[TILE_FRAMES * i : TILE_FRAMES * i + rows].reshape(rows * K, -1) @ tap
    return out.reshape(rows, K, -1)
