"""What a model says to a recording, on the recording's own clock.

    for spoken in reply(dialogue, wav_T, seed=7, after_s=5.0): ...     # float32 [T] at 24 kHz

Frame by frame as on a line: the reply's sample k is heard while the recording's sample k is, so the model
comes `dialogue.latency_samples` after its own thought, and that long nothing is said at first. A recording
that ends within a frame is filled up with silence, and `after_s` more of silence is listened to.
Dimension key: T samples.
"""

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from generation.dialogue import Dialogue, Spoken


def num_frames(dialogue: Dialogue, num_samples: int, after_s: float = 0.0) -> int:
    """How many frames `reply` gives. Raises ValueError for an `after_s` that is no length of time."""
    if not (math.isfinite(after_s) and after_s >= 0):
        raise ValueError(f"after_s is a time of at least 0 s, not {after_s}")
    return math.ceil((num_samples + after_s * SAMPLE_RATE_HZ) / dialogue.frame_samples)


def reply(
    dialogue: Dialogue, wav_T: NDArray[np.float32], *, seed: int | None = None, after_s: float = 0.0
) -> Generator[Spoken, None, None]:
    """What is said, as fast as it is asked for. Takes a free row of `dialogue` until the end or `close`.

    Raises NoFreeStream; FrameError for samples that are not finite; ValueError as `num_frames`.
    """
    frame = dialogue.frame_samples
    total = num_frames(dialogue, len(wav_T), after_s)
    heard_T = np.pad(wav_T.astype(np.float32), (0, max(0, total * frame - len(wav_T))))
    nothing = Spoken("", np.zeros(frame, np.float32))
    row = dialogue.open(seed=seed)
    try:
        for start in range(0, total * frame, frame):
            yield dialogue.step({row: heard_T[start : start + frame]}).get(row, nothing)
    finally:
        dialogue.close(row)
