"""What decides the shapes of a Mimi codec. `MimiConfig()` is the published one; any size can be built.

Source: Moshi (Defossez et al., 2024, sec. 3.3) and kyutai-labs/moshi, models/loaders.py.
"""

from dataclasses import dataclass, field
from math import prod

from audio import SAMPLE_RATE_HZ
from generation.streaming import TransformerConfig

PUBLISHED_TRANSFORMER = TransformerConfig(
    dim=512,
    num_layers=8,
    num_heads=8,
    feed_forward=2048,
    context=250,  # 10 s at 25 Hz
    norm="layer_norm",
    gated=False,
    layer_scale=True,
    frame_steps=2,
)


@dataclass(frozen=True)
class MimiConfig:
    """The codec at one size. `ratios` is the decoder's order; the encoder runs through it backwards.

    With `vocoder` (vocoder.py) there are two ratios: from the transformers' steps to hops, and the samples of
    a hop; `num_filters` is the width at hops, and `spectrum_window` and `filter_bins` count.
    """

    ratios: tuple[int, ...] = (8, 6, 5, 4)
    num_filters: int = 64
    latent_dim: int = 512
    num_residual_layers: int = 1
    compress: int = 2
    dilation_base: int = 2
    kernel: int = 7
    residual_kernel: int = 3
    last_kernel: int = 3
    resample_stride: int = 2  # between the convolutions' steps and the frames
    transformer: TransformerConfig | None = field(default=PUBLISHED_TRANSFORMER)
    num_codebooks: int = 32  # those that the weights hold; a stream may use fewer
    num_semantic: int = 1
    codebook_size: int = 2048
    codebook_dim: int = 256
    vocoder: bool = False
    spectrum_window: int = 1024
    filter_bins: int = 257

    @property
    def sample_rate_hz(self) -> int:
        return SAMPLE_RATE_HZ

    @property
    def frame_samples(self) -> int:
        """1920 for the published sizes: 80 ms."""
        return prod(self.ratios) * self.resample_stride

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.frame_samples
