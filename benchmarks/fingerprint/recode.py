"""Speech through a codec of Mimi's architecture, as a neural re-encoding attack: 8 codebooks."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generation.checkpoints.loading import read_mimi
from generation.mimi import Mimi
from generation.train.codec.config import MINI

_FRAME_SAMPLES = 1_920


def through(codec: Path, wav_T: NDArray[np.float32]) -> NDArray[np.float32]:
    """The speech as `codec` (codec.safetensors of `earmark train codec`) gives it back; same length."""
    padded_T = np.pad(wav_T, (0, -len(wav_T) % _FRAME_SAMPLES)).astype(np.float32)
    with torch.inference_mode():
        _, out = _mimi(codec).run(torch.from_numpy(padded_T)[None])
    return np.asarray(out.reshape(-1).numpy()[: len(wav_T)], np.float32)


@lru_cache(maxsize=1)
def _mimi(codec: Path) -> Mimi:
    torch.set_num_threads(1)
    return read_mimi(codec, MINI, 8)
