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
import torch
from safetensors.torch import load
from torch.nn import functional

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
    seen -= _TYPICAL  # in place: of ten minutes it is 190 MB
    return seen


def _mean_around(size_FK: Floats) -> Floats:
    """Return the mean of the eight tiles around each; edges repeat the border."""
    F, K = size_FK.shape
    padded = np.pad(size_FK, ((TILE_FRAMES, TILE_FRAMES), (1, 1)), mode="edge")
    across = padded[:, :K] + padded[:, 1 : K + 1] + padded[:, 2:]
    total = across[:F] + across[TILE_FRAMES : TILE_FRAMES + F] + across[2 * TILE_FRAMES :]
    return np.asarray((total - size_FK) / 8, np.float32)


@dataclass(frozen=True)
class Reader:
    """The network's weights; no state, safe to share by threads. Kernels: [out, in, time, frequency]."""

    first: torch.Tensor
    first_bias: torch.Tensor
    second: torch.Tensor
    second_bias: torch.Tensor
    last: torch.Tensor
    last_bias: torch.Tensor
    sha256: str  # of the file

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        """Read the weights from safetensors; what they must be: `watermark.train.reader.Network`."""
        data = path.read_bytes()
        tensors = load(data)
        first, second, last = (
            tensors[f"{layer}.weight"].contiguous(memory_format=torch.channels_last)
            for layer in ("first", "second", "last")
        )
        sha256 = hashlib.sha256(data).hexdigest()
        return cls(
            first, tensors["first.bias"], second, tensors["second.bias"], last, tensors["last.bias"], sha256
        )

    def evidence(self, power_FK: Floats, residual_FK: Floats, peak_F: Floats) -> Floats:
        """Return what each tile says [F, K], within +-exp(3). Arguments as of `inputs`."""
        seen = inputs(power_FK, residual_FK, peak_F)
        out = np.empty_like(residual_FK, np.float32)
        for start in range(0, len(seen), _BLOCK_FRAMES):
            stop = min(len(seen), start + _BLOCK_FRAMES)
            weight, slope, correction = self._network(seen, start, stop)
            bent = np.tanh((residual_FK[start:stop] + correction) * np.exp(slope) / 2)
            out[start:stop] = np.exp(np.minimum(weight, MAX_LOG_WEIGHT)) * bent
        return out

    def _network(self, seen: Floats, start: int, stop: int) -> Floats:
        """Return the three outputs of the frames from start to stop [3, stop - start, K]."""
        reach1, reach2 = (TILE_FRAMES * (kernel.shape[2] // 2) for kernel in (self.first, self.second))
        around = _rows(seen, start - reach1 - reach2, stop + reach1 + reach2)
        with torch.inference_mode():
            x = torch.from_numpy(around).permute(2, 0, 1)[None]  # channels last, as it lies in memory
            hidden = _convolve(x, self.first, self.first_bias).relu_()
            # Beyond the audio there is nothing, not what the bias makes of it.
            hidden[:, :, : max(0, reach2 - start)] = 0
            hidden[:, :, hidden.shape[2] - max(0, stop + reach2 - len(seen)) :] = 0
            hidden = _convolve(hidden, self.second, self.second_bias).relu_()
            return np.asarray(_convolve(hidden, self.last, self.last_bias)[0].numpy())


@cache
def shipped() -> Reader:
    """Return the reader that comes with the package, read once."""
    return Reader.load()


def _rows(seen: Floats, first: int, end: int) -> Floats:
    """Return rows first to end, zeros where there are none."""
    inside = seen[max(0, first) : end]
    return np.pad(inside, ((max(0, -first), max(0, end - len(seen))), (0, 0), (0, 0)))


def _convolve(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Convolve [1, in, F, K] over tiles, whole neighbourhoods only, and bands, zeros beyond the edges."""
    beyond = kernel.shape[3] // 2
    return functional.conv2d(x, kernel, bias, padding=(0, beyond), dilation=(TILE_FRAMES, 1))
