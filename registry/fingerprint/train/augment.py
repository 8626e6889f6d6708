"""What happens to a copy's spectrogram each time it is used, in batch: a few milliseconds for 160 windows.

    span of frames -> speed, tempo, pitch, shift (one bilinear warp) -> equaliser -> noise or babble
    -> telephone or band limit -> ends cut off -> picture

Noise adds as |sqrt(S) + c sqrt(N) exp(i phi)|^2 with a random phase, c falling with the number of bins in a
band: power plus the cross term that a sum of waveforms has. Codecs, rooms and lost packets are in the copies
already (journeys.py). Dimension key: B windows, F frames, M mel bands.
Source of the chain: Chang et al. 2021 (arXiv 2010.11910), sec. 2.4; differs: in the mel domain, and the
window may be heard in part, because a query's first and last windows are.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from registry.fingerprint import features
from registry.fingerprint.train.cache import FLOOR
from registry.fingerprint.train.sampler import MARGIN_FRAMES, SPAN_FRAMES

_BANDS = np.arange(features.NUM_BANDS)


def _mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(2_595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


_MEL_STEP = float(_mel(features.CONFIG.max_hz) - _mel(features.CONFIG.min_hz)) / (features.NUM_BANDS + 1)
BAND_HZ = 700.0 * (10.0 ** ((_mel(features.CONFIG.min_hz) + (_BANDS + 1) * _MEL_STEP) / 2_595.0) - 1.0)
_BIN_HZ = features.SAMPLE_RATE_HZ / features.FRAME_SAMPLES


@dataclass(frozen=True)
class Chances:
    """Probability of each step, and its range."""

    p_tempo: float = 0.3
    p_pitch: float = 0.25
    p_speed: float = 0.15  # tempo and pitch together, as a tape does it
    max_tempo_change: float = 0.08
    max_semitones: float = 1.3
    shift_frames: float = 4.5  # 0.07 s: query rows are 0.12 s apart, so the nearest is within 0.06 s
    p_equaliser: float = 0.5
    p_noise: float = 0.6
    snr_db: tuple[float, float] = (-3.0, 22.0)
    p_band_limit: float = 0.4
    p_cut: float = 0.45
    max_cut_frames: int = 32  # 0.48 s


class Augmenter:
    """Holds the noises (log power [F, M]); draws from the generator it is given."""

    def __init__(self, noises: list[NDArray[np.float32]], chances: Chances, device: str) -> None:
        self.noises = [noise for noise in noises if len(noise) >= features.NUM_FRAMES]
        self.chances = chances
        self.device = device
        bins = np.maximum(1.0, np.gradient(BAND_HZ) / _BIN_HZ)
        self._cross_M = torch.from_numpy((2.0 / np.sqrt(bins)).astype(np.float32)).to(device)

    def anchors(self, log_BFM: NDArray[np.float32]) -> torch.Tensor:
        """Pictures of untouched windows."""
        return features.picture(torch.from_numpy(log_BFM).to(self.device).exp().transpose(1, 2))

    def copies(
        self, span_BFM: NDArray[np.float32], missing_BF: NDArray[np.bool_], rng: np.random.Generator
    ) -> torch.Tensor:
        """Pictures of damaged windows, cut out of the middle of the spans."""
        B, _, _ = span_BFM.shape
        frames_BF, bands_BM = self._warp(B, rng)
        grid = np.stack(
            [
                np.broadcast_to(
                    2.0 * bands_BM[:, None, :] / (features.NUM_BANDS - 1) - 1.0,
                    (B, features.NUM_FRAMES, features.NUM_BANDS),
                ),
                np.broadcast_to(
                    2.0 * frames_BF[:, :, None] / (SPAN_FRAMES - 1) - 1.0,
                    (B, features.NUM_FRAMES, features.NUM_BANDS),
                ),
            ],
            axis=-1,
        ).astype(np.float32)
        spans = torch.from_numpy(span_BFM).to(self.device)[:, None]
        log_BFM = functional.grid_sample(
            spans, torch.from_numpy(grid).to(self.device), padding_mode="border", align_corners=True
        )[:, 0]
        power_BFM = log_BFM.exp() * self._tensor(self._equalisers(B, rng))[:, None]
        power_BFM = self._add_noise(power_BFM, rng)
        power_BFM = power_BFM * self._tensor(self._band_limits(B, rng))[:, None] + FLOOR
        nearest_BF = np.clip(np.rint(frames_BF).astype(np.int64), 0, SPAN_FRAMES - 1)
        missing_BF = np.take_along_axis(missing_BF, nearest_BF, axis=1) | self._cuts(B, rng)
        return features.picture(power_BFM.transpose(1, 2), torch.from_numpy(missing_BF).to(self.device))

    def _tensor(self, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)

    def _warp(self, B: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each output frame and band the place in the span that it is read from."""
        chances = self.chances
        widest = chances.max_tempo_change
        tempo_B = 1.0 + np.where(rng.random(B) < chances.p_tempo, rng.uniform(-widest, widest, B), 0.0)
        semitones_B = np.where(
            rng.random(B) < chances.p_pitch, rng.uniform(-1.0, 1.0, B) * chances.max_semitones, 0.0
        )
        ratio_B = 2.0 ** (semitones_B / 12.0)
        speed_B = np.where(rng.random(B) < chances.p_speed, 1.0 + rng.uniform(-widest, widest, B), 1.0)
        shift_B = rng.uniform(-chances.shift_frames, chances.shift_frames, B)
        # A copy whose frames lie on the registry's own grid is as good as any, and interpolation blurs.
        shift_B = np.where(rng.random(B) < 0.5, np.rint(shift_B), shift_B)
        middle = (features.NUM_FRAMES - 1) / 2.0
        places_F = np.arange(features.NUM_FRAMES) - middle
        frames_BF = MARGIN_FRAMES + middle + shift_B[:, None] + (tempo_B * speed_B)[:, None] * places_F[None]
        source_hz_BM = BAND_HZ[None] / (ratio_B * speed_B)[:, None]
        bands_BM = (_mel(source_hz_BM) - _mel(features.CONFIG.min_hz)) / _MEL_STEP - 1.0
        return frames_BF, bands_BM

    def _equalisers(self, B: int, rng: np.random.Generator) -> NDArray[np.float64]:
        knots_hz = np.array([0.0, 150, 400, 900, 1_800, 3_200, 5_000, 12_000])
        gains_BM = np.ones((B, features.NUM_BANDS))
        for item in np.flatnonzero(rng.random(B) < self.chances.p_equaliser):
            gains_db = np.interp(BAND_HZ, knots_hz, rng.normal(0.0, 5.0, len(knots_hz)))
            gains_BM[item] = 10.0 ** (gains_db / 10.0)
        return gains_BM

    def _band_limits(self, B: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Power gains: a telephone, a low-pass at 2.2 to 7 kHz, a high-pass at 80 to 500 Hz, or both."""
        gains_BM = np.ones((B, features.NUM_BANDS))
        for item in np.flatnonzero(rng.random(B) < self.chances.p_band_limit):
            which = rng.integers(4)
            low_hz, high_hz = (
                (300.0, 3_400.0) if which == 3 else (rng.uniform(80, 500), rng.uniform(2_200, 7_000))
            )
            steep = 40.0 if which == 3 else rng.uniform(4.0, 24.0)
            if which != 0:
                gains_BM[item] *= 1.0 / (1.0 + (BAND_HZ / high_hz) ** steep)
            if which != 1:
                gains_BM[item] *= 1.0 / (1.0 + (low_hz / BAND_HZ) ** (steep / 2.0))
        return gains_BM + 1e-6

    def _add_noise(self, power_BFM: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        B, F, M = power_BFM.shape
        noise_BFM = torch.zeros_like(power_BFM)
        for item in np.flatnonzero(rng.random(B) < self.chances.p_noise):
            if rng.random() < 0.65 and self.noises:
                source = self.noises[rng.integers(len(self.noises))]
                first = int(rng.integers(len(source) - F + 1))
                piece = torch.from_numpy(source[first : first + F]).to(self.device).exp()
            else:  # babble: one to three other windows of this batch
                others = torch.from_numpy(rng.integers(B, size=int(rng.integers(1, 4))))
                piece = power_BFM[others].sum(dim=0).roll(int(rng.integers(F)), dims=0)
            ratio = 10.0 ** (-rng.uniform(*self.chances.snr_db) / 10.0)
            noise_BFM[item] = piece * (ratio * power_BFM[item].mean() / (piece.mean() + FLOOR))
        phase = torch.from_numpy(rng.uniform(0.0, 2.0 * math.pi, (B, F, M)).astype(np.float32)).to(
            self.device
        )
        cross = self._cross_M * torch.sqrt(power_BFM * noise_BFM) * torch.cos(phase)
        return torch.maximum(power_BFM + noise_BFM + cross, 0.02 * torch.maximum(power_BFM, noise_BFM))

    def _cuts(self, B: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Frames [B, F] that were not heard: up to `max_cut_frames` at the beginning or at the end."""
        num_B = np.where(
            rng.random(B) < self.chances.p_cut, rng.integers(1, self.chances.max_cut_frames + 1, B), 0
        )
        places_F = np.arange(features.NUM_FRAMES)
        at_start_B1 = (rng.random(B) < 0.5)[:, None]
        from_end_F = features.NUM_FRAMES - 1 - places_F
        return np.where(at_start_B1, places_F[None], from_end_F[None]) < num_B[:, None]
