"""Mimi: a neural codec at 12.5 frames a second, streaming, causal, one frame of latency and nothing more.

    encode   samples -> SEANet -> transformer (25 Hz) -> down to 12.5 Hz -> split RVQ -> codes
    decode   codes -> split RVQ -> up to 25 Hz -> transformer -> SEANet -> samples

    state = mimi.open(batch_size)
    codes_BKF = mimi.encode(state, wav_BT)       # whole frames of 1920 samples
    wav_BT = mimi.decode(state, codes_BKF)

Dimension key: B rows, T samples, F frames, K codebooks, E latent width.
Source: Moshi (Defossez et al., 2024, sec. 3.3), kyutai-labs/moshi@e6a55d2; its four particulars are kept:
the learnt downsampling repeats its first step at the left edge, the upsampling is depthwise, both
quantizers read the same latent, and the transformers see what the published streaming run sees
(positions.py). Not here: training.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from generation.errors import FrameError
from generation.mimi.config import MimiConfig
from generation.mimi.quantizer import Codebook, SplitQuantizer
from generation.mimi.seanet import Chain, make_decoder, make_encoder
from generation.mimi.vocoder import SpectralEncoder, Vocoder
from generation.streaming import CausalConv, CausalConvTranspose, Transformer
from generation.streaming.conv import ConvState, ConvTransposeState
from generation.streaming.transformer import TransformerState


@dataclass
class EncoderState:
    convolutions: Any  # what the chain of convolutions opened
    transformer: TransformerState | None
    downsample: ConvState


@dataclass
class DecoderState:
    upsample: ConvTransposeState
    transformer: TransformerState | None
    convolutions: Any  # what the chain of convolutions opened


@dataclass
class MimiState:
    """Both directions of each row; they are independent of one another."""

    encoder: EncoderState
    decoder: DecoderState


class _Body(nn.Module):
    """Only here because the published keys say `encoder_transformer.transformer.layers`."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        if config.transformer is not None:
            self.transformer = Transformer(config.transformer)


class Mimi(nn.Module):
    """The codec. `num_codebooks` of its codes are written and read, 8 for Moshi."""

    def __init__(self, config: MimiConfig, num_codebooks: int = 8) -> None:
        super().__init__()
        self.config = config
        self.num_codebooks = num_codebooks
        self.encoder: Chain = SpectralEncoder(config) if config.vocoder else make_encoder(config)
        self.decoder: Chain = Vocoder(config) if config.vocoder else make_decoder(config)
        self.encoder_transformer = _Body(replace(config, transformer=None) if config.vocoder else config)
        self.decoder_transformer = _Body(config)
        dim, stride = config.latent_dim, config.resample_stride
        self.downsample = CausalConv(dim, dim, 2 * stride, stride=stride, bias=False, repeat_first=True)
        self.upsample = CausalConvTranspose(dim, dim, stride, bias=False, depthwise=True)
        self.quantizer = SplitQuantizer(config)

    @property
    def num_codebooks(self) -> int:
        """Codes of a frame, from 1 to what the weights hold; may be set at any time."""
        return self._num_codebooks

    @num_codebooks.setter
    def num_codebooks(self, num: int) -> None:
        if not 1 <= num <= self.config.num_codebooks:
            raise ValueError(f"this codec has 1 to {self.config.num_codebooks} codebooks, not {num}")
        self._num_codebooks = num

    @property
    def latency_samples(self) -> int:
        """The wait for a whole frame; encoder and decoder add none."""
        return self.config.frame_samples

    def prepare(self) -> Self:
        """Lay the weights out for streaming, after loading; the results stay the same."""
        for module in self.modules():
            if isinstance(module, (CausalConv, CausalConvTranspose)):
                module.pack()
            elif isinstance(module, Codebook):
                module.forget()
        return self.requires_grad_(False).eval()

    def open(self, batch_size: int, *, ring: int | None = None) -> MimiState:
        """Streams at their beginning. `ring`: slots of attention (see `Transformer.open`)."""
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {batch_size}")
        bodies = [
            body.transformer.open(batch_size, ring) if hasattr(body, "transformer") else None
            for body in (self.encoder_transformer, self.decoder_transformer)
        ]
        return MimiState(
            EncoderState(self.encoder.open(batch_size), bodies[0], self.downsample.open(batch_size)),
            DecoderState(self.upsample.open(batch_size), bodies[1], self.decoder.open(batch_size)),
        )

    def encode(self, state: MimiState, wav_BT: Tensor, live_B: Tensor | None = None) -> Tensor:
        """Codes int64 [B, K, F] of whole frames: float [B, 1920 F] in [-1, 1]. Raises FrameError."""
        return self.quantizer.encode(self.latents(state, wav_BT, live_B), self.num_codebooks)

    def latents(self, state: MimiState, wav_BT: Tensor, live_B: Tensor | None = None) -> Tensor:
        """What the quantizer sees: float [B, F, E]. Moves the encoder on, as `encode` does."""
        if wav_BT.dim() != 2 or not wav_BT.shape[1] or wav_BT.shape[1] % self.config.frame_samples:
            raise FrameError(
                f"audio comes as [rows, samples] in whole frames of {self.config.frame_samples} samples,"
                f" not {list(wav_BT.shape)}"
            )
        x_BTE = self.encoder.push(state.encoder.convolutions, wav_BT[:, :, None], live_B)
        if state.encoder.transformer is not None:
            x_BTE = self.encoder_transformer.transformer.push(state.encoder.transformer, x_BTE, live_B)
        return self.downsample.push(state.encoder.downsample, x_BTE, live_B)

    def decode(self, state: MimiState, codes_BKF: Tensor, live_B: Tensor | None = None) -> Tensor:
        """Samples float [B, 1920 F] of codes [B, K, F], K from 1 to all. Raises FrameError.

        Codes are not checked against the size of the codebooks, which would wait for the device.
        """
        if codes_BKF.dim() != 3 or not 1 <= codes_BKF.shape[1] <= self.config.num_codebooks:
            raise FrameError(f"codes come as [rows, codebooks, frames], not {list(codes_BKF.shape)}")
        return self.sound(state, self.quantizer.decode(codes_BKF), live_B)

    def sound(self, state: MimiState, x_BFE: Tensor, live_B: Tensor | None = None) -> Tensor:
        """Samples float [B, 1920 F] of quantized latents [B, F, E]. Moves the decoder on, as `decode`."""
        x_BTE = self.steps(state, x_BFE, live_B)
        return self.decoder.push(state.decoder.convolutions, x_BTE, live_B)[:, :, 0]

    def steps(self, state: MimiState, x_BFE: Tensor, live_B: Tensor | None = None) -> Tensor:
        """What the decoder's convolutions see of quantized latents: float [B, F * stride, E]."""
        x_BTE = self.upsample.push(state.decoder.upsample, x_BFE, live_B)
        if state.decoder.transformer is not None:
            x_BTE = self.decoder_transformer.transformer.push(state.decoder.transformer, x_BTE, live_B)
        return x_BTE

    @torch.no_grad()
    def run(self, wav_BT: Tensor) -> tuple[Tensor, Tensor]:
        """A whole signal through both ways: its codes, and what they sound like, cut to its length.

        The last frame is filled up with silence. The same as streaming it, in one pass.
        """
        T = wav_BT.shape[1]
        padded_BT = nn.functional.pad(wav_BT, (0, -T % self.config.frame_samples))
        steps = padded_BT.shape[1] // self.config.frame_samples * self.config.resample_stride
        context = self.config.transformer.context if self.config.transformer else 0
        state = self.open(len(wav_BT), ring=context + steps)
        codes_BKF = self.encode(state, padded_BT)
        return codes_BKF, self.decode(state, codes_BKF)[:, :T]
