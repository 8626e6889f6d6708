"""The mini codec's shapes, and how a run is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from generation.checkpoints.source import PACKAGED
from generation.checkpoints.writing import CODEC_NAME
from generation.mimi import MimiConfig
from generation.streaming import TransformerConfig

MINI = MimiConfig(
    vocoder=True,
    ratios=(4, 240),
    num_filters=256,
    num_residual_layers=4,
    compress=1,
    latent_dim=256,  # 4 hops a step, of 62 bands, pitch and voicing
    transformer=TransformerConfig(
        dim=256,
        num_layers=4,
        num_heads=4,
        feed_forward=1024,
        context=50,  # 2 s at 25 Hz: what a training clip shows
        norm="layer_norm",
        gated=False,
        layer_scale=True,
        frame_steps=2,
    ),
    num_codebooks=8,
    codebook_size=1024,
    codebook_dim=128,
)
"""10.8 M parameters, 12.5 frames a second, 8 codes of 10 bits: 1.0 kbit/s."""
SHIPPED = PACKAGED / CODEC_NAME
"""A codec of MINI's shapes, in half precision: docs/model-codec.md."""


@dataclass(frozen=True)
class CodecRun:
    """A run. Steps count from the first one ever, so a longer run goes on where a shorter one stopped."""

    data: Path
    out: Path
    codec: MimiConfig = field(default_factory=lambda: MINI)
    start: Path | None = None  # a codec.safetensors of this size to begin with
    steps: int = 6_000
    fit_batches: int = 400  # that a vocoder's encoder and codebooks are worked out from
    plain_steps: int = 600  # before the codebooks exist: latents reach the decoder as they are
    frozen_from: int | None = None  # from here on codes stay the same and only the decoder learns
    adversarial_from: int | None = None
    disc_filters: int = 8
    clips: int = 12
    clip_frames: int = 16  # of 80 ms
    voice_share: float = 0.75  # of clips from the recorded voice and `spoken_voices`
    speech: Path | None = None  # what `earmark train data` made
    spoken_voices: tuple[str, ...] = ()  # of it, trained on besides
    learning_rate: float = 1e-3
    warm_steps: int = 100
    decay_share: float = 0.9  # of the steps, the last ones, over which the rate falls to a fiftieth
    report_steps: int = 500
    checkpoint_steps: int = 200
    device: str = "cpu"
    threads: int = 1
    seed: int = 1

    def rate(self, step: int) -> float:
        """The learning rate of a step: up, level, down."""
        warm = min(1.0, (step + 1) / self.warm_steps)
        left = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * warm * min(1.0, max(0.02, left))
