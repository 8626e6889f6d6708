"""Moshi: the language model over one text stream and two streams of speech, its own and the user's."""

from generation.moshi.config import DepthConfig, MoshiConfig
from generation.moshi.model import Moshi
from generation.moshi.sampling import Noise, NoiseSource, Sampling, SeededNoise
from generation.moshi.stepper import Guidance, Step, Stepper, StepperState

__all__ = [
    "DepthConfig",
    "Guidance",
    "Moshi",
    "MoshiConfig",
    "Noise",
    "NoiseSource",
    "Sampling",
    "SeededNoise",
    "Step",
    "Stepper",
    "StepperState",
]
