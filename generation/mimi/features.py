"""What the vocoder's encoder hears of a window: log mel bands, the pitch, and how voiced it is.

    bands      log(power in band + FLOOR)
    voicing    the highest peak of the window's autocorrelation, at a lag of 1 / 600 to 1 / 60 s
    pitch      log(its frequency / PITCH_HZ), faded to 0 where nothing is voiced

Nothing here is learned and nothing remembers; a wrong octave in one window is the decoder's to put right,
which hears seconds. Dimension key: B rows, N windows, W samples of one, K bins, L lags, M features.
Source: autocorrelation over that of the window, after Boersma, 1993, "Accurate short-term analysis of the
fundamental frequency"; mel bands as audio/mel.py.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from audio import SAMPLE_RATE_HZ
from audio.mel import MelConfig, mel_filters

LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
PITCH_HZ = 160.0
LEAST_WINDOW = 512  # samples; the lowest pitch has a period of 400
FLOOR = 1e-5
PITCH_SCALE = 30.0  # a pitch that is 3 % off weighs as a spectrum that is 4 dB off in one band
VOICING_SCALE = 4.0
_TOP_HZ = 1_200.0  # of what the pitch is looked for in: a few harmonics
_OCTAVE_COST = 0.02  # a lag of half the length wins where it is hardly worse
_VOICED, _SLOPE = 0.45, 0.05


def features(frames_BNW: Tensor, num: int) -> Tensor:
    """float32 [B, N, num] of windows [B, N, W]: num - 2 bands, then pitch and voicing."""
    W = frames_BNW.shape[-1]
    bands_KM, window_W, low_K = tables(W, num - 2)
    spectrum_BNK = torch.fft.rfft(frames_BNW.float() * window_W.to(frames_BNW), 2 * W)
    power_BNK = spectrum_BNK.real.square() + spectrum_BNK.imag.square()
    bands_BNM = torch.log(power_BNK[..., ::2] @ bands_KM.to(power_BNK) + FLOOR)
    pitch_BN, voicing_BN = _pitch(power_BNK * low_K.to(power_BNK), window_W.to(power_BNK))
    return torch.cat(
        [bands_BNM, PITCH_SCALE * pitch_BN[..., None], VOICING_SCALE * voicing_BN[..., None]], -1
    )


def _pitch(power_BNK: Tensor, window_W: Tensor) -> tuple[Tensor, Tensor]:
    W = len(window_W)
    shortest, longest = round(SAMPLE_RATE_HZ / HIGHEST_HZ), round(SAMPLE_RATE_HZ / LOWEST_HZ)
    of_window_L = torch.fft.irfft(torch.fft.rfft(window_W, 2 * W).abs().square())[: longest + 2]
    like_BNL = torch.fft.irfft(power_BNK)[..., : longest + 2]
    like_BNL = like_BNL / (like_BNL[..., :1] + 1e-6) / (of_window_L / of_window_L[0])
    lags_L = torch.arange(shortest, longest + 1, device=power_BNK.device)
    score_BNL = like_BNL[..., shortest : longest + 1] - _OCTAVE_COST * torch.log2(lags_L / shortest)
    best_BN1 = score_BNL.argmax(-1, keepdim=True) + shortest
    before, peak, after = (like_BNL.gather(-1, best_BN1 + d)[..., 0] for d in (-1, 0, 1))
    bend = (before - 2 * peak + after).clamp(max=-1e-6)
    lag_BN = best_BN1[..., 0] + (0.5 * (before - after) / bend).clamp(
        -0.5, 0.5
    )  # of a parabola through three
    voiced_BN = torch.sigmoid((peak - _VOICED) / _SLOPE)
    return torch.log(SAMPLE_RATE_HZ / lag_BN / PITCH_HZ) * voiced_BN, voiced_BN


@lru_cache(maxsize=4)
def tables(window: int, num_bands: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bands [K, M] of W / 2 + 1 bins, the window [W], and what part of W + 1 bins the pitch is looked for in.

    Not to be written to.
    """
    bands_KM = mel_filters(
        MelConfig(window_samples=window, hop_samples=window // 4, num_bands=num_bands, max_hz=11_500.0)
    )
    window_W = torch.hann_window(window)
    hz_K = torch.arange(window + 1) * (SAMPLE_RATE_HZ / 2 / window)
    low_K = 0.5 + 0.5 * torch.cos(math.pi * (hz_K / _TOP_HZ).clamp(max=1.0))
    return bands_KM, window_W, low_K
