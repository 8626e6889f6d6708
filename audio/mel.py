"""Log-mel spectrogram: log(max(M |STFT(x)|^2, floor)), with no padding and no look-ahead beyond the frame.

Frame f covers samples f * hop to f * hop + window: F = 1 + (T - window) // hop, and 0 when T < window.
Triangular filters of peak 1 on the mel scale 2595 log10(1 + f / 700), natural logarithm, Hann window.
Dimension key: T samples, F frames.

Source: S. Davis, P. Mermelstein, "Comparison of parametric representations", 1980; differs: no DCT.
Imports torch; `import audio` alone does not.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from audio.rates import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class MelConfig:
    """Geometry of a log-mel spectrogram. `floor` is a power: 1e-6 is near the noise of 16-bit speech."""

    sample_rate_hz: int = SAMPLE_RATE_HZ
    window_samples: int = 1024
    hop_samples: int = 240
    num_bands: int = 64
    min_hz: float = 60.0
    max_hz: float = 8_000.0
    floor: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.min_hz < self.max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"bands need 0 <= {self.min_hz} < {self.max_hz} <= half of {self.sample_rate_hz} Hz"
            )
        if min(self.window_samples, self.hop_samples, self.num_bands) < 1 or self.floor <= 0:
            raise ValueError("window, hop and number of bands must be at least 1, and the floor above 0")


def log_mel(wav: Tensor, config: MelConfig) -> Tensor:
    """Args: wav float32 [..., T] at `config.sample_rate_hz`. Returns float32 [..., F, num_bands].

    Differentiable. Raises nothing for short input: F is 0 when T is shorter than one window.
    """
    *batch, num_samples = wav.shape
    if num_samples < config.window_samples:
        return wav.new_zeros((*batch, 0, config.num_bands))
    bands_KM = mel_filters(config).to(wav)
    return torch.log((power_spectrogram(wav, config) @ bands_KM).clamp_min(config.floor))


def power_spectrogram(wav: Tensor, config: MelConfig) -> Tensor:
    """Power of each frame that lies wholly inside the signal: [..., T] to [..., F, window // 2 + 1].

    T must be at least one window.
    """
    frames_FW = wav.unfold(-1, config.window_samples, config.hop_samples)
    window_W = torch.hann_window(config.window_samples, dtype=wav.dtype, device=wav.device)
    spectrum_FK = torch.fft.rfft(frames_FW * window_W)
    power_FK: Tensor = spectrum_FK.real.square() + spectrum_FK.imag.square()
    return power_FK


@lru_cache(maxsize=8)
def mel_filters(config: MelConfig) -> Tensor:
    """Weights [window // 2 + 1, num_bands] from power spectrum to bands, peak 1. Not to be written to.

    A low band narrower than a bin, whose triangle no bin meets well, takes its nearest bin.
    """
    bins_hz = torch.fft.rfftfreq(config.window_samples, 1 / config.sample_rate_hz, dtype=torch.float64)
    low, high = _mel(torch.tensor([config.min_hz, config.max_hz], dtype=torch.float64)).tolist()
    edges_mel = torch.linspace(low, high, config.num_bands + 2, dtype=torch.float64)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    left, centre, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - left) / (centre - left)
    falling = (right - bins_hz[:, None]) / (right - centre)
    weights_KM = torch.minimum(rising, falling).clamp_min(0.0)
    missed = weights_KM.sum(dim=0) < 0.5
    nearest = (bins_hz[:, None] - centre).abs().argmin(dim=0)
    weights_KM[nearest[missed], missed] = 1.0
    return weights_KM.to(torch.float32)


def _mel(hz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hz / 700.0)
