"""The other pair of ends for a codec: what is heard of each 10 ms before it, and a vocoder behind it.

    encoder   mel bands, pitch and voicing (features.py) every 240 samples, four hops a step -> 25 Hz
    decoder   25 Hz -> a linear map and, added to it, convolutions at 100 Hz
              -> pitch, a filter for the voiced part, one for the noise
              y = sum_n h_n * pulses_n + g_n * noise_n,   n: hops of 240 samples

Each hop's excitation passes through that hop's filter and rings on, so nothing waits for a later hop: a step
of latents is heard when it is pushed, streaming as in one pass. The filters are minimum phase, from the
logarithm of their magnitude by way of the cepstrum; pulses are all harmonics up to 11.5 kHz in phase; the
noise is one table, read by position, so that the same codes are the same samples.

Dimension key: B rows, T samples or steps, N hops, K bins, L filter taps, C channels.
Source: neural source-filter models (Wang et al., 2019) and the neural homomorphic vocoder (Liu et al., 2020,
sec. 2); minimum phase after Oppenheim and Schafer, 1975, sec. 10.5. Differs: causal, no adversarial part, and
behind Moshi's quantizer. Why not SEANet at this size: docs/decisions/0027.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from audio import SAMPLE_RATE_HZ
from generation.mimi.config import MimiConfig
from generation.mimi.features import HIGHEST_HZ, LOWEST_HZ, features
from generation.mimi.seanet import Chain, Elu
from generation.streaming import CausalConv, CausalConvTranspose
from generation.streaming.state import write_rows

TOP_HARMONIC_HZ = 11_500.0
NOISE_SAMPLES = 1 << 17
GAIN = 0.2  # of the convolutions: what one step of Adam adds to 768 weights is else a neper
LOUDEST = 4.0  # of a filter's log magnitudes; speech at full scale stays below 2


class Norm(nn.LayerNorm):
    """A layer norm as a layer of a stream: it remembers nothing."""

    def open(self, batch_size: int) -> None:  # noqa: ARG002 - the shape of every layer
        return None

    def push(self, state: None, x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:  # noqa: ARG002
        y_BTC: Tensor = self(x_BTC)
        return y_BTC


class NormedBlock(Chain):
    """`x + conv1(ELU(conv_k(norm(x))))`: a SEANet block that is told the scale of what it hears."""

    def __init__(self, dim: int, hidden: int, kernel: int, dilation: int) -> None:
        inner = CausalConv(dim, hidden, kernel, dilation=dilation)
        super().__init__([Norm(dim), inner, Elu(), CausalConv(hidden, dim, 1)])

    def push(self, state: list[Any], x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:
        return x_BTC + super().push(state, x_BTC, live_B)


def _blocks(config: MimiConfig) -> list[NormedBlock]:
    dim, kernel = config.num_filters, config.residual_kernel
    return [
        NormedBlock(dim, dim // config.compress, kernel, config.dilation_base**index)
        for index in range(config.num_residual_layers)
    ]


@dataclass
class SpectralEncoderState:
    samples_BT: Tensor  # what the next windows still need
    convolutions: list[Any]


class SpectralEncoder(Chain):
    """[B, T, 1] to [B, T / product of ratios, latent_dim]: the hops of a step side by side, nothing more."""

    def __init__(self, config: MimiConfig) -> None:
        steps, hop = config.ratios
        super().__init__([CausalConv(config.latent_dim // steps, config.latent_dim, steps, stride=steps)])
        self.hop, self.window = hop, config.spectrum_window
        self.num_features = config.latent_dim // steps

    def open(self, batch_size: int) -> SpectralEncoderState:  # type: ignore[override]
        first = next(self.parameters())
        kept = first.new_zeros(batch_size, self.window - self.hop)
        return SpectralEncoderState(kept, super().open(batch_size))

    def push(  # type: ignore[override]
        self, state: SpectralEncoderState, x_BTC: Tensor, live_B: Tensor | None = None
    ) -> Tensor:
        samples_BT = torch.cat([state.samples_BT, x_BTC[:, :, 0]], dim=1)
        write_rows(state.samples_BT, samples_BT[:, x_BTC.shape[1] :], live_B)
        frames_BNW = samples_BT.unfold(1, self.window, self.hop)
        return super().push(state.convolutions, features(frames_BNW, self.num_features), live_B)


@dataclass
class Controls:
    """What the vocoder is told for each hop: log magnitudes and the logarithm of a pitch in Hz."""

    voiced_BNK: Tensor
    noise_BNK: Tensor
    log_pitch_BN: Tensor


@dataclass
class VocoderState:
    convolutions: list[Any]
    ringing_BT: Tensor  # of earlier hops, beyond what was heard
    pitch_B: Tensor  # Hz at the end of the last hop; 0 at the beginning
    cycles_B: Tensor  # float64 in [0, 1): where in a period the last sample was
    position_B: Tensor  # int64, in the table of noise


class Vocoder(Chain):
    """[B, T, latent_dim] to [B, T * product of ratios, 1]."""

    def __init__(self, config: MimiConfig) -> None:
        steps, hop, dim = *config.ratios, config.num_filters
        super().__init__(
            [
                CausalConv(config.latent_dim, dim, config.kernel),
                Elu(),
                CausalConvTranspose(dim, dim, steps),
                *_blocks(config),
                Norm(dim),
                CausalConv(dim, 2 * config.filter_bins + 1, config.last_kernel),
            ]
        )
        self.hop, self.bins = hop, config.filter_bins
        # What the latents say by themselves, hop by hop; the convolutions say what to change.
        self.base = nn.Linear(config.latent_dim, steps * (2 * self.bins + 1))
        self.taps = 2 * (self.bins - 1)
        table = np.random.default_rng(0).standard_normal(NOISE_SAMPLES).astype(np.float32)
        self.noise_table = nn.Buffer(torch.from_numpy(table), persistent=False)

    def open(self, batch_size: int) -> VocoderState:  # type: ignore[override]
        first = next(self.parameters())
        # Loading assigns weights where they are wanted, and moves no buffer.
        self.noise_table = nn.Buffer(self.noise_table.to(first.device), persistent=False)
        return VocoderState(
            super().open(batch_size),
            first.new_zeros(batch_size, self.taps, dtype=torch.float32),
            first.new_zeros(batch_size, dtype=torch.float32),
            first.new_zeros(batch_size, dtype=torch.float64),
            torch.zeros(batch_size, dtype=torch.int64, device=first.device),
        )

    def push(  # type: ignore[override]
        self, state: VocoderState, x_BTC: Tensor, live_B: Tensor | None = None
    ) -> Tensor:
        return self.render(state, self.controls(state, x_BTC, live_B), live_B)

    def controls(self, state: VocoderState, x_BTC: Tensor, live_B: Tensor | None = None) -> Controls:
        """What the latents ask for, in float32."""
        change_BNC = GAIN * super().push(state.convolutions, x_BTC, live_B).float()
        y_BNC = change_BNC + self.base(x_BTC).float().view(change_BNC.shape)
        voiced_BNK, noise_BNK, pitch_BN1 = y_BNC.tensor_split([self.bins, 2 * self.bins], dim=2)
        low, high = math.log(LOWEST_HZ), math.log(HIGHEST_HZ)
        log_pitch_BN = low + (high - low) * torch.sigmoid(pitch_BN1[:, :, 0])
        return Controls(_bounded(voiced_BNK), _bounded(noise_BNK), log_pitch_BN)

    def render(self, state: VocoderState, controls: Controls, live_B: Tensor | None = None) -> Tensor:
        """Samples [B, T, 1] of controls. The pitch carries no gradient: a spectrum says nothing of it."""
        pulses_BNH = self._pulses(state, controls.log_pitch_BN.detach().exp(), live_B)
        noise_BNH = self._noise(state, pulses_BNH, live_B)
        n = self.hop + self.taps
        heard_BNW = torch.fft.irfft(
            torch.fft.rfft(pulses_BNH, n) * torch.fft.rfft(minimum_phase(controls.voiced_BNK), n)
            + torch.fft.rfft(noise_BNH, n) * torch.fft.rfft(minimum_phase(controls.noise_BNK), n),
            n,
        )
        y_BT = overlap_add(heard_BNW, self.hop)
        y_BT = y_BT + functional.pad(state.ringing_BT, (0, y_BT.shape[1] - self.taps))
        made = pulses_BNH.shape[1] * self.hop
        write_rows(state.ringing_BT, y_BT[:, made:], live_B)
        return y_BT[:, :made, None]

    @torch.no_grad()
    def _pulses(self, state: VocoderState, pitch_BN: Tensor, live_B: Tensor | None) -> Tensor:
        """[B, N, H] of about unit power: sqrt(2 / M) sum_m cos(m phase), m up to M = 11.5 kHz / pitch."""
        first_B = torch.where(state.pitch_B > 0, state.pitch_B, pitch_BN[:, 0])
        before_BN = torch.cat([first_B[:, None], pitch_BN[:, :-1]], dim=1)
        along_H = torch.arange(1, self.hop + 1, device=pitch_BN.device) / self.hop
        pitch_BNH = torch.lerp(before_BN[..., None], pitch_BN[..., None], along_H)
        cycles_BT = state.cycles_B[:, None] + pitch_BNH.flatten(1).double().cumsum(1) / SAMPLE_RATE_HZ
        cycles_BT = cycles_BT - cycles_BT.floor()
        write_rows(state.pitch_B, pitch_BN[:, -1], live_B)
        write_rows(state.cycles_B, cycles_BT[:, -1], live_B)
        phase_BNH = (2 * math.pi * cycles_BT).float().view_as(pitch_BNH)
        return _cosines(phase_BNH, TOP_HARMONIC_HZ / pitch_BNH)

    def _noise(self, state: VocoderState, like_BNH: Tensor, live_B: Tensor | None) -> Tensor:
        B, N, H = like_BNH.shape
        along_T = torch.arange(N * H, device=like_BNH.device)
        places_BT = (state.position_B[:, None] + along_T) % NOISE_SAMPLES
        write_rows(state.position_B, (places_BT[:, -1] + 1) % NOISE_SAMPLES, live_B)
        return self.noise_table[places_BT].view(B, N, H)


def _cosines(phase: Tensor, number: Tensor) -> Tensor:
    """sqrt(2 / M) sum_{m=1}^{M} cos(m phase) for a real M: the last one comes in gradually.

    The sum is Dirichlet's kernel: sin((M + 1/2) phase) / (2 sin(phase / 2)) - 1/2.
    """
    whole = number.floor()
    sine = torch.sin(phase / 2)
    peak = sine.abs() < 1e-4
    kernel = torch.sin((whole + 0.5) * phase) / (2 * sine.masked_fill(peak, 1.0)) - 0.5
    kernel = torch.where(peak, whole, kernel)
    return (kernel + (number - whole) * torch.cos((whole + 1) * phase)) * torch.sqrt(2 / number)


def _bounded(log_magnitude: Tensor) -> Tensor:
    """Below LOUDEST, gradually: a training step that overshoots must not be heard as e to the hundred."""
    return LOUDEST - functional.softplus(LOUDEST - log_magnitude)


def minimum_phase(log_magnitude_K: Tensor) -> Tensor:
    """Impulse responses [..., 2 (K - 1)] of minimum phase with these log magnitudes [..., K]."""
    taps = 2 * (log_magnitude_K.shape[-1] - 1)
    cepstrum_L = torch.fft.irfft(log_magnitude_K, taps)
    folding_L = cepstrum_L.new_zeros(taps)
    folding_L[0], folding_L[1 : taps // 2], folding_L[taps // 2] = 1.0, 2.0, 1.0
    response_L: Tensor = torch.fft.irfft(torch.exp(torch.fft.rfft(cepstrum_L * folding_L)), taps)
    return response_L


def overlap_add(pieces_BNW: Tensor, hop: int) -> Tensor:
    """Pieces [B, N, W] that begin every `hop` samples, added up: [B, (N - 1) hop + W]."""
    B, N, W = pieces_BNW.shape
    parts = -(-W // hop)
    padded_BNPH = functional.pad(pieces_BNW, (0, parts * hop - W)).view(B, N, parts, hop)
    total = torch.stack(
        [functional.pad(padded_BNPH[:, :, p], (0, 0, p, parts - 1 - p)) for p in range(parts)]
    ).sum(dim=0)
    return total.reshape(B, -1)[:, : (N - 1) * hop + W]
