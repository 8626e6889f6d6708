"""What happens to a marked clip and to its unmarked twin before the detector hears them.

Filters, noise and level are computed in torch and pass gradients. A real codec does not: its output is what
is heard, and the gradient passes as if it had changed nothing (straight through). Each attack is drawn about
as often as the detector fails under it.
Bit rates of the codecs are other than those that are reported (report.py).
Source: straight-through estimator, Bengio et al., 2013; attacks by difficulty as in WaveVerify (2025).
Dimension key: B clips, T samples.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from audio import SAMPLE_RATE_HZ, edits

Attack = Callable[[Tensor, np.random.Generator], Tensor]
_EDGE_HZ = 200.0  # over which a filter goes from all to nothing
_SELDOM = 0.05  # an attack that never fools the detector is drawn as if it did this often
_MEMORY = 0.95


def straight_through(edit: edits.Edit) -> Attack:
    """A codec of audio/edits; an edit whose output is longer or shorter is cut or filled with zeros."""

    def attack(wav_BT: Tensor, rng: np.random.Generator) -> Tensor:
        T = wav_BT.shape[1]
        heard_BT = np.zeros(wav_BT.shape, np.float32)
        for row_T, wav_T in zip(heard_BT, wav_BT.detach().cpu().numpy(), strict=True):
            edited_T = edits.apply(wav_T, edit, seed=int(rng.integers(2**31)))[:T]
            row_T[: len(edited_T)] = edited_T
        return wav_BT + (torch.from_numpy(heard_BT).to(wav_BT.device) - wav_BT).detach()

    return attack


def band(low_hz: tuple[float, float], high_hz: tuple[float, float]) -> Attack:
    """A filter without phase; its edges are drawn for the whole batch."""

    def attack(wav_BT: Tensor, rng: np.random.Generator) -> Tensor:
        T = wav_BT.shape[1]
        low, high = rng.uniform(*low_hz), rng.uniform(*high_hz)
        hz = torch.fft.rfftfreq(T, 1.0 / SAMPLE_RATE_HZ, device=wav_BT.device)
        above, below = (hz - low) / _EDGE_HZ + 0.5, (high - hz) / _EDGE_HZ + 0.5
        passed = above.clamp(0, 1) * below.clamp(0, 1)
        heard_BT: Tensor = torch.fft.irfft(torch.fft.rfft(wav_BT) * passed, n=T)
        return heard_BT

    return attack


def noise(wav_BT: Tensor, rng: np.random.Generator) -> Tensor:
    """White noise 20 to 35 dB below the clip."""
    B, T = wav_BT.shape
    snr_db = torch.from_numpy(rng.uniform(20.0, 35.0, (B, 1)).astype(np.float32)).to(wav_BT.device)
    white_BT = torch.from_numpy(rng.standard_normal((B, T), np.float32)).to(wav_BT.device)
    level_B1 = wav_BT.detach().square().mean(dim=1, keepdim=True).sqrt()
    return wav_BT + white_BT * level_B1 * 10.0 ** (-snr_db / 20.0)


def level(wav_BT: Tensor, rng: np.random.Generator) -> Tensor:
    """A gain of -14 to +6 dB, and half of the clips upside down."""
    B = len(wav_BT)
    gain_B1 = 10.0 ** (rng.uniform(-14.0, 6.0, (B, 1)) / 20.0) * rng.choice([-1.0, 1.0], (B, 1))
    return wav_BT * torch.from_numpy(gain_B1.astype(np.float32)).to(wav_BT.device)


def late(wav_BT: Tensor, rng: np.random.Generator) -> Tensor:
    """Begins up to two frames later, so that frames of the mark and of the detector are no longer in step."""
    start = int(rng.integers(1, 640))
    return torch.nn.functional.pad(wav_BT[:, start:], (0, start))


def _codec(operation: str, bit_rate: int) -> Attack:
    return straight_through(edits.Edit(f"{operation}_{bit_rate}", operation, {"bit_rate": bit_rate}))


ATTACKS: Mapping[str, Attack] = {
    "level": level,
    "late": late,
    "low_pass": band((-500.0, -400.0), (3_000.0, 8_000.0)),
    "high_pass": band((80.0, 500.0), (20_000.0, 20_001.0)),
    "noise": noise,
    "mp3_96k": _codec("mp3", 96_000),
    "mp3_48k": _codec("mp3", 48_000),
    "aac_48k": _codec("aac", 48_000),
    "opus_20k": _codec("opus", 20_000),
}


class Difficulty:
    """How often the detector fails under each attack, of late; what is hard is drawn more often."""

    def __init__(self) -> None:
        self.errors = dict.fromkeys(ATTACKS, 0.5)

    def draw(self, rng: np.random.Generator) -> str:
        names = list(self.errors)
        weights = np.array([max(self.errors[name], _SELDOM) for name in names])
        return str(rng.choice(names, p=weights / weights.sum()))

    def learn(self, name: str, error: float) -> None:
        self.errors[name] = _MEMORY * self.errors[name] + (1.0 - _MEMORY) * error
