"""How a run of the public mark's training is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from watermark.audioseal.config import SMALL, SealConfig


@dataclass(frozen=True)
class SealRun:
    """A run. Steps count from the first one ever, so a longer run goes on where a shorter one stopped.

    The mark begins loud, at `loudest_snr_db`, and sinks by `quieter_db` at each step at which it is found in
    clean audio, down to the configuration's own; attacks join once it has sunk to `attacks_from_snr_db`.
    """

    data: Path
    out: Path
    config: SealConfig = field(default_factory=lambda: SMALL)
    steps: int = 6_000
    clips: int = 8
    clip_samples: int = 16_000
    loudest_snr_db: float = 10.0
    quieter_db: float = 0.06
    attacks_from_snr_db: float = 16.0
    learning_rate: float = 1e-3
    warm_steps: int = 50
    decay_share: float = 0.35  # of the steps, the last ones, over which the rate falls to a fiftieth
    checkpoint_steps: int = 100
    device: str = "cpu"
    threads: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        if self.config.snr_db is None:
            raise ValueError("a mark is trained at a fixed distance from the speech: set snr_db")

    @property
    def snr_db(self) -> float:
        """The distance at which the run ends."""
        assert self.config.snr_db is not None
        return self.config.snr_db

    def rate(self, step: int) -> float:
        """The learning rate of a step: up, level, down."""
        warm = min(1.0, (step + 1) / self.warm_steps)
        left = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * warm * min(1.0, max(0.02, left))
