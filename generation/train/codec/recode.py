"""Speech through a codec and back, as an attack: what a watermark and a fingerprint should survive."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generation.checkpoints import read_mimi
from generation.train.codec.config import MINI

_FRAME_SAMPLES = 1_920
_LONGEST_SAMPLES = 375 * _FRAME_SAMPLES  # 30 s at a time: attention keeps two, memory all

Wav = NDArray[np.float32]


def recoder(codec: Path, num_codebooks: int = 8) -> Callable[[Wav], Wav]:
    """A function that encodes and decodes speech (float32 at 24 kHz), of any length, in time with it.

    `codec` is a codec.safetensors of MINI's shapes (`earmark train codec`). 0.015 s of one core for each
    second. Raises what `read_mimi` does.
    """
    mimi = read_mimi(codec, MINI, num_codebooks).prepare()

    def recoded(wav_T: Wav) -> Wav:
        pieces = [wav_T[first : first + _LONGEST_SAMPLES] for first in range(0, len(wav_T), _LONGEST_SAMPLES)]
        made = [_whole_frames(piece_T) for piece_T in pieces]
        with torch.inference_mode():
            out = [mimi.run(torch.from_numpy(piece_T)[None])[1].reshape(-1).numpy() for piece_T in made]
        return np.concatenate([*out, np.zeros(0)])[: len(wav_T)].astype(np.float32)

    return recoded


def _whole_frames(wav_T: Wav) -> Wav:
    return np.pad(wav_T, (0, -len(wav_T) % _FRAME_SAMPLES)).astype(np.float32)
