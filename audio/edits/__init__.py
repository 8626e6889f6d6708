"""Attacks on a waveform, by name: `apply(wav_T, "mp3_32k")`. They run in process, on trusted arrays only."""

import numpy as np
from numpy.typing import NDArray

from audio.edits.catalogue import CATALOGUE, CODEC2, background, room
from audio.edits.codecs import codec2_is_installed
from audio.edits.edit import OPERATIONS, Edit, chain
from audio.edits.edit import apply as _apply

__all__ = [
    "CATALOGUE",
    "CODEC2",
    "OPERATIONS",
    "Edit",
    "apply",
    "background",
    "chain",
    "codec2_is_installed",
    "room",
]


def apply(wav_T: NDArray[np.float32], edit: str | Edit, *, seed: int = 0) -> NDArray[np.float32]:
    """Apply an edit, or one of the `CATALOGUE` by its name; see `audio.edits.edit.apply`.

    Raises ValueError for an unknown name or for a waveform that is not finite and mono.
    """
    if isinstance(edit, str):
        if edit not in CATALOGUE:
            raise ValueError(f"{edit!r} is not in the catalogue: {', '.join(CATALOGUE)}")
        edit = CATALOGUE[edit]
    return _apply(wav_T, edit, seed=seed)
