"""Moshi: text and speech in, text and speech out, 80 ms at a time. Importing this starts and reads nothing.

    dialogue = Dialogue.load("kyutai/moshiko-pytorch-bf16")
    row = dialogue.open(seed=7)
    spoken = dialogue.step({row: frame_T})

    speaker = Speaker.load("mini")
    for speech_T in speaker.say(speaker.read("Good morning."), seed=7): ...

What they say is raw: marking, registering and encoding it is `api.marking`'s work.
"""

from generation.checkpoints import MINI_VOICE
from generation.dialogue import Dialogue, Spoken
from generation.errors import (
    CheckpointError,
    FrameError,
    GenerationError,
    NoFreeStream,
    SpeechRequestError,
    UnknownStream,
)
from generation.mimi import Mimi, MimiConfig
from generation.moshi import Moshi, MoshiConfig, NoiseSource, Sampling, Stepper
from generation.reply import num_frames, reply
from generation.speaker import Speaker, SpeechRequest

__all__ = [
    "MINI_VOICE",
    "CheckpointError",
    "Dialogue",
    "FrameError",
    "GenerationError",
    "Mimi",
    "MimiConfig",
    "Moshi",
    "MoshiConfig",
    "NoFreeStream",
    "NoiseSource",
    "Sampling",
    "Speaker",
    "SpeechRequest",
    "SpeechRequestError",
    "Spoken",
    "Stepper",
    "UnknownStream",
    "num_frames",
    "reply",
]
