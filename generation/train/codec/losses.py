"""What the codec is to be near to: log-mel spectrograms at several resolutions, and a discriminator's view.

    mel             mean over windows of mean |log mel(y) - log mel(x)|
    spectrum        mean over windows of mean |log X - log Y| + |X - Y| / |X|,  X = |STFT(x)|
                    of all windows, or of those that a step draws
    discriminator   mean max(0, 1 - D(x)) + mean max(0, 1 + D(y))
    generator       -mean D(y)
    features        mean over layers of |f(y) - f(x)| / mean |f(x)|

Dimension key: B clips, T samples. Source: EnCodec (Defossez et al., 2022, sec. 3.4), hinge losses; the
spectrum after Parallel WaveGAN (Yamamoto et al., 2020, sec. 2.2). Differs: no balancer, fixed weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from audio.mel import MelConfig, log_mel

RESOLUTIONS = tuple(
    MelConfig(
        window_samples=window,
        hop_samples=window // 4,
        num_bands=bands,
        min_hz=30.0,
        max_hz=11_500.0,
        floor=1e-7 * window,  # of noise at -66 dBFS: what is quieter need not be matched
    )
    for window, bands in ((256, 16), (512, 32), (1024, 64), (2048, 112))
)

SPECTRAL_WINDOWS = (512, 1024, 2048)


def mel_distance(made_BT: Tensor, real_BT: Tensor, drawn: Sequence[MelConfig] = RESOLUTIONS) -> Tensor:
    """Mean over the resolutions, in nepers of power."""
    distances = [functional.l1_loss(log_mel(made_BT, one), log_mel(real_BT, one)) for one in drawn]
    return torch.stack(distances).mean()


def spectral_distance(made_BT: Tensor, real_BT: Tensor, drawn: Sequence[int] = SPECTRAL_WINDOWS) -> Tensor:
    """Mean over the windows: harmonics and what lies between them, which mel bands do not part."""
    distances = []
    for window in drawn:
        made, real = (_magnitude(wav_BT, window) for wav_BT in (made_BT, real_BT))
        distances.append(functional.l1_loss(made.log(), real.log()) + (made - real).norm() / real.norm())
    return torch.stack(distances).mean()


def _magnitude(wav_BT: Tensor, window: int) -> Tensor:
    shape = torch.hann_window(window, device=wav_BT.device)
    floor = 1.4e-4 * float(window) ** 0.5  # noise at -66 dBFS or so need not be matched
    spectrum: Tensor = torch.stft(wav_BT, window, window // 4, window=shape, return_complex=True)
    magnitude: Tensor = spectrum.abs() + floor
    return magnitude


def hinge_discriminator(real: list[Tensor], made: list[Tensor]) -> Tensor:
    pairs = zip(real, made, strict=True)
    losses = [functional.relu(1 - r).mean() + functional.relu(1 + m).mean() for r, m in pairs]
    return torch.stack(losses).mean()


def hinge_generator(made: list[Tensor]) -> Tensor:
    return torch.stack([-m.mean() for m in made]).mean()


def feature_distance(real: list[Tensor], made: list[Tensor]) -> Tensor:
    """Features of the real clips carry no gradient."""
    pairs = zip(real, made, strict=True)
    losses = [functional.l1_loss(m, r.detach()) / r.detach().abs().mean().clamp(min=1e-6) for r, m in pairs]
    return torch.stack(losses).mean()
