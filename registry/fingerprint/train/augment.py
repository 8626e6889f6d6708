"""What happens to a copy on its way through the world, in batch, cheap enough for one CPU thread.

    context + window -> room and equaliser (one spectral product) -> noise or babble -> clipping -> telephone
    -> power spectrum -> late band limit -> picture

Real codecs are not simulated: the sampler hands in copies that went through them. A telephone is band-pass
and mu-law.
Dimension key: B windows, T samples. Source of the chain: Chang et al. 2021 (arXiv 2010.11910), sec. 2.4;
differs: speech, one spectral product for everything linear, the room hears a third of a second before the
window.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from registry.fingerprint import features

CONTEXT_SAMPLES = 8_768  # before the window, so that the room rings on from what was said before
SPAN_SAMPLES = CONTEXT_SAMPLES + features.WINDOW_SAMPLES  # 32768, a fast transform size
_BINS = SPAN_SAMPLES // 2 + 1


@dataclass(frozen=True)
class Chances:
    """Probability of each step, and its range. Speed and codec copies are drawn by the sampler."""

    p_room: float = 0.4
    p_equaliser: float = 0.5
    p_noise: float = 0.7
    snr_db: tuple[float, float] = (-3.0, 22.0)
    p_clip: float = 0.1
    p_telephone: float = 0.15
    p_band_limit: float = 0.3


class Augmenter:
    """Holds the noises and the rooms' spectra; draws from the generator it is given."""

    def __init__(
        self,
        noises: list[NDArray[np.float32]],
        rooms: list[NDArray[np.float32]],
        chances: Chances,
        device: str,
    ) -> None:
        self.noises = [noise for noise in noises if len(noise) >= features.WINDOW_SAMPLES]
        self.chances = chances
        self.device = device
        padded = np.zeros((len(rooms), CONTEXT_SAMPLES), np.float32)
        for row, room in zip(padded, rooms, strict=True):
            row[: min(len(room), CONTEXT_SAMPLES)] = room[:CONTEXT_SAMPLES]
        self.rooms_RT = padded
        self.filters = features.mel_filters().to(device)

    def mel_power(self, wav_BT: torch.Tensor, gain_BK: torch.Tensor | None = None) -> torch.Tensor:
        """Mel power [B, bands, F] of whole windows; `gain_BK` weighs the power of each bin first."""
        power = features.power_spectrogram(wav_BT)[:, :, : features.NUM_FRAMES]
        if gain_BK is not None:
            power = power * gain_BK[:, :, None]
        return torch.matmul(self.filters, power)

    def anchors(self, wav_BT: NDArray[np.float32]) -> torch.Tensor:
        """Pictures of untouched windows."""
        return features.picture(self.mel_power(torch.from_numpy(wav_BT).to(self.device)))

    def copies(self, span_BT: NDArray[np.float32], rng: np.random.Generator) -> torch.Tensor:
        """Pictures of damaged windows; the input holds the context before each window too."""
        B = span_BT.shape[0]
        clean_BT = torch.from_numpy(span_BT).to(self.device)
        spectrum = torch.fft.rfft(clean_BT) * torch.from_numpy(self._linear(B, rng)).to(self.device)
        wav_BT = torch.fft.irfft(spectrum, n=SPAN_SAMPLES)[:, CONTEXT_SAMPLES:]
        wav_BT = self._add_noise(wav_BT, rng)
        wav_BT = self._clip(wav_BT, rng)
        wav_BT = self._telephone(wav_BT, rng)
        gain_BK = torch.from_numpy(self._band_limits(B, rng)).to(self.device)
        return features.picture(self.mel_power(wav_BT, gain_BK))

    def _linear(self, B: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """One frequency response per item: room times equaliser."""
        response = np.ones((B, _BINS), np.complex64)
        for item in np.flatnonzero(rng.random(B) < self.chances.p_room):
            response[item] = np.fft.rfft(self._room(rng), SPAN_SAMPLES)
        knots_hz = np.array([0.0, 150, 400, 900, 1_800, 3_200, 5_000, 12_000])
        bins_hz = np.linspace(0.0, 12_000.0, _BINS)
        for item in np.flatnonzero(rng.random(B) < self.chances.p_equaliser):
            gains_db = np.interp(bins_hz, knots_hz, rng.normal(0.0, 5.0, len(knots_hz)))
            response[item] *= (10.0 ** (gains_db / 20.0)).astype(np.float32)
        return response

    def _room(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A measured room, or direct sound and an exponential tail with RT60 of 0.1 to 0.9 s."""
        if rng.random() < 0.4 and len(self.rooms_RT):
            return np.asarray(self.rooms_RT[rng.integers(len(self.rooms_RT))])
        time_s = np.arange(CONTEXT_SAMPLES) / features.SAMPLE_RATE_HZ
        tail_T = rng.standard_normal(CONTEXT_SAMPLES) * np.exp(-6.9 * time_s / rng.uniform(0.1, 0.9))
        tail_T[: int(rng.integers(24, 480))] = 0.0
        tail_T *= 10.0 ** (-rng.uniform(-3.0, 12.0) / 20.0) / np.sqrt(np.sum(tail_T**2) + 1e-12)
        tail_T[0] = 1.0
        return tail_T.astype(np.float32)

    def _add_noise(self, wav_BT: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        B, T = wav_BT.shape
        noise_BT = torch.zeros_like(wav_BT)
        for item in np.flatnonzero(rng.random(B) < self.chances.p_noise):
            kind = rng.random()
            if kind < 0.45 and self.noises:
                source = self.noises[rng.integers(len(self.noises))]
                start = int(rng.integers(len(source) - T + 1))
                piece = torch.from_numpy(source[start : start + T].copy()).to(self.device)
            elif kind < 0.75:  # babble: one to three other windows of this batch
                others = rng.integers(B, size=int(rng.integers(1, 4)))
                piece = wav_BT[torch.from_numpy(others)].sum(dim=0).roll(int(rng.integers(T)))
            else:
                slope = rng.uniform(0.0, 1.0)  # 0 white, 1 pink
                shape = np.arange(1, T // 2 + 2) ** (-slope / 2)
                coloured = np.fft.irfft(np.fft.rfft(rng.standard_normal(T)) * shape, T).astype(np.float32)
                piece = torch.from_numpy(coloured).to(self.device)
            snr_db = rng.uniform(*self.chances.snr_db)
            level = wav_BT[item].square().mean().sqrt() / (piece.square().mean().sqrt() + 1e-8)
            noise_BT[item] = piece * level * 10.0 ** (-snr_db / 20.0)
        return wav_BT + noise_BT

    def _clip(self, wav_BT: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        B = wav_BT.shape[0]
        share = np.where(rng.random(B) < self.chances.p_clip, rng.uniform(0.1, 0.7, B), 1.0).astype(
            np.float32
        )
        limit_B1 = wav_BT.abs().amax(dim=1, keepdim=True) * torch.from_numpy(share).to(self.device)[:, None]
        return torch.clamp(wav_BT, -limit_B1, limit_B1)

    def _telephone(self, wav_BT: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        chosen = torch.from_numpy(np.flatnonzero(rng.random(wav_BT.shape[0]) < self.chances.p_telephone))
        if not len(chosen):
            return wav_BT
        T = wav_BT.shape[1]
        bins_hz = torch.linspace(0.0, 12_000.0, T // 2 + 1, device=self.device)
        passes = (torch.sigmoid((bins_hz - 280.0) / 25.0) * torch.sigmoid((3_450.0 - bins_hz) / 60.0))[None]
        narrow = torch.fft.irfft(torch.fft.rfft(wav_BT[chosen]) * passes, n=T)
        peak = narrow.abs().amax(dim=1, keepdim=True) + 1e-8
        unit = narrow / peak * 0.7
        folded = torch.sign(unit) * torch.log1p(255.0 * unit.abs()) / math.log(256.0)
        stepped = torch.round(folded * 127.0) / 127.0
        out = wav_BT.clone()
        out[chosen] = torch.sign(stepped) * (torch.pow(256.0, stepped.abs()) - 1.0) / 255.0 * peak
        return out

    def _band_limits(self, B: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Power gain per bin: a low-pass at 2.2 to 7 kHz, a high-pass at 80 to 500 Hz, or both."""
        bins_hz = np.linspace(0.0, 12_000.0, features.FRAME_SAMPLES // 2 + 1)
        gains = np.ones((B, len(bins_hz)), np.float32)
        for item in np.flatnonzero(rng.random(B) < self.chances.p_band_limit):
            which = rng.integers(3)
            if which != 0:
                gains[item] *= 1.0 / (
                    1.0 + (bins_hz / rng.uniform(2_200.0, 7_000.0)) ** rng.uniform(4.0, 24.0)
                )
            if which != 1:
                gains[item] *= 1.0 / (
                    1.0 + (rng.uniform(80.0, 500.0) / (bins_hz + 1.0)) ** rng.uniform(4.0, 12.0)
                )
        return gains + np.float32(1e-6)
