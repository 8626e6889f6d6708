"""Shapes of the public mark's networks: ours, and the published ones.

All are causal, with frames of `HOP_SAMPLES`, a sixth of a Mimi frame. Imports nothing heavy.
"""

from dataclasses import dataclass
from math import prod

HOP_SAMPLES = 320  # 13.3 ms at 24 kHz
PRESENCE_LOGITS = 2  # unmarked, marked; the message's bits follow


@dataclass(frozen=True)
class SealConfig:
    """One pair of networks. `ratios` are upsampling steps, the decoder's order, as the package has them."""

    bits: int
    filters: int  # channels at the rate of samples; doubled at each of the four steps
    dimension: int  # of a frame
    ratios: tuple[int, int, int, int]
    lstm_layers: int
    film: bool  # the message scales and shifts every channel; False: the package's sum of embeddings
    snr_db: float | None  # the mark follows the speech this far below it; None: as loud as the generator says

    def __post_init__(self) -> None:
        if prod(self.ratios) != HOP_SAMPLES:
            raise ValueError(f"the ratios must multiply to {HOP_SAMPLES}, not {prod(self.ratios)}")


PUBLISHED = SealConfig(16, 32, 128, (8, 5, 4, 2), 2, film=False, snr_db=None)
"""`facebook/audioseal`, streaming variant: trained at 16 kHz, 14.7 + 8.7 M parameters."""

SMALL = SealConfig(16, 6, 64, (2, 4, 5, 8), 0, film=True, snr_db=27.0)
"""Ours, trained at 24 kHz. The step of 8 stands next to the samples, where the published order has 2: the
convolutions at the highest rates are nearly all of the work."""
