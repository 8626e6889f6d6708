"""A Moshi that is small enough for a test: 17 rows and the published delays, a context of 30 frames."""

import torch

from generation.moshi import DepthConfig, Moshi, MoshiConfig, Stepper
from generation.moshi.stepper import StepperState
from generation.streaming import TransformerConfig
from tests.generation.oracle import randomize

CONFIG = MoshiConfig(
    temporal=TransformerConfig(dim=32, num_layers=2, num_heads=4, feed_forward=132, context=30),
    depth=DepthConfig(dim=16, num_layers=2, num_heads=2, feed_forward=66),
    text_vocabulary=60,
    audio_vocabulary=40,
)


def small_moshi(seed: int = 5, config: MoshiConfig = CONFIG) -> Moshi:
    """Random weights under which each part matters."""
    moshi = Moshi(config)
    randomize(moshi, 0.25, seed)
    return moshi.prepare()


def user_codes(num_rows: int, num_frames: int, seed: int = 6) -> torch.Tensor:
    """What users say: int64 [B, F, 8]."""
    torch.manual_seed(seed)
    return torch.randint(0, CONFIG.audio_vocabulary, (num_rows, num_frames, 8))


def run(stepper: Stepper, state: StepperState, heard_BFK: torch.Tensor) -> torch.Tensor:
    """All steps of all rows: what each gave, [B, F, 9]."""
    steps = [stepper.push(state, heard_BK).tokens_BR for heard_BK in heard_BFK.unbind(dim=1)]
    return torch.stack(steps, dim=1)
