"""Generator and detector of the public mark, built from the `audioseal` package's own classes.

    mark    = follow(generator(host, message))         additive, at most as long as the host
    logits  = detector(audio), one row a frame: unmarked, marked, the bits of the message

Dimension key: B clips, T samples (whole frames of HOP_SAMPLES), F frames, M message bits. Nothing here
normalises, resamples or judges. The package's `forward` wrappers are passed over: they call torch.compile,
which starts a compiler for a model that runs once.
Source: San Roman et al., 2024 (AudioSeal, arXiv 2401.17264), package audioseal 0.2.0; differs: message by
FiLM (Perez et al., 2018, eq. 2) where the configuration says so, loudness that follows the speech.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from watermark.audioseal.config import PRESENCE_LOGITS, SealConfig

with warnings.catch_warnings():
    # The package decorates its states with torch.jit.script, which torch 2.13 calls deprecated.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    from audioseal import builder
    from audioseal.models import AudioSealDetector, AudioSealWM

__all__ = ["AudioSealDetector", "AudioSealWM", "Film", "build_detector", "build_generator", "frame_logits"]


class Film(nn.Module):
    """A message scales and shifts every channel of a frame: h' = h (1 + a(m)) + b(m), bits as -1 and +1."""

    def __init__(self, bits: int, dimension: int) -> None:
        super().__init__()
        self.nbits = bits
        self.table = nn.Linear(bits, 2 * dimension)

    def forward(self, hidden_BDF: Tensor, message_BM: Tensor) -> Tensor:
        table_BE: Tensor = self.table(2.0 * message_BM.float() - 1.0)
        scale_BD, shift_BD = table_BE.chunk(2, dim=1)
        return hidden_BDF * (1.0 + scale_BD[:, :, None]) + shift_BD[:, :, None]


def build_generator(config: SealConfig) -> AudioSealWM:
    """Fresh weights; set them with `load_state_dict`."""
    decoder = builder.DecoderConfig(None, None, trim_right_ratio=1.0)
    model = builder.create_generator(builder.AudioSealWMConfig(config.bits, _seanet(config), decoder))
    if config.film:
        model.msg_processor = Film(config.bits, config.dimension)
    return model


def build_detector(config: SealConfig) -> AudioSealDetector:
    """Fresh weights; set them with `load_state_dict`."""
    return builder.create_detector(builder.AudioSealDetectorConfig(config.bits, _seanet(config)))


def raw_mark(generator: AudioSealWM, host_BT: Tensor, message_BM: Tensor) -> Tensor:
    """What the generator adds [B, T], before its loudness is set. With streaming states installed
    (`streaming.py`) this is one push of a stream."""
    parts: Any = generator  # torch types the parts of a module as tensors or modules
    hidden_BDF = parts.encoder.model(host_BT[:, None])
    mark_BCT: Tensor = parts.decoder.model(parts.msg_processor(hidden_BDF, message_BM))
    return mark_BCT[:, 0]


def frame_logits(detector: AudioSealDetector, wav_BT: Tensor) -> Tensor:
    """The detector's logits [B, 2 + M, F], averaged over each frame.

    The package spreads a frame over its samples by a transposed convolution and reads each sample with one
    matrix; both are linear, so the mean over a frame needs neither: the same numbers at 1/320 of the work.
    """
    layers: Any = detector.detector
    encoder, reader = layers
    hidden_BDF = encoder.model(wav_BT[:, None])
    spread = encoder.reverse_convolution
    weight_DC = spread.weight.mean(dim=2)
    mean_BCF = torch.einsum("bdf,dc->bcf", hidden_BDF, weight_DC) + spread.bias[:, None]
    logits: Tensor = reader(mean_BCF)
    return logits


def presence(logits_BCF: Tensor) -> Tensor:
    """Log-odds of the mark for each frame [B, F]."""
    return logits_BCF[:, 1] - logits_BCF[:, 0]


def message_logits(logits_BCF: Tensor) -> Tensor:
    """Log-odds of each bit for each frame [B, M, F]."""
    return logits_BCF[:, PRESENCE_LOGITS:]


def _seanet(config: SealConfig) -> builder.SEANetConfig:
    return builder.SEANetConfig(
        channels=1,
        dimension=config.dimension,
        n_filters=config.filters,
        n_residual_layers=1,
        ratios=list(config.ratios),
        activation="ELU",
        activation_params={"alpha": 1.0},
        norm="none",
        norm_params={},
        kernel_size=7,
        last_kernel_size=7,
        residual_kernel_size=3,
        dilation_base=2,
        causal=True,
        pad_mode="constant",
        true_skip=True,
        compress=2,
        lstm=config.lstm_layers,
        disable_norm_outer_blocks=0,
    )
