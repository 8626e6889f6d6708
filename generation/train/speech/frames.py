"""Where the tokens of a text stand in the frames of its speech.

    PAD EPAD ▁hel lo PAD EPAD ▁there PAD … PAD EPAD PAD

Each word is announced by EPAD, `lead_frames + 1` frames before it is heard, or as soon as the word before it
is written; its tokens follow. One more EPAD comes when the last word has been heard: it ends the sentence.
`generation.forcing` reads a text in the same way. Dimension key: F frames.
Source: Moshi (Defossez et al., 2024, sec. 3.4.4); differs: EPAD is never left out, so that "does the next
word begin" is one question, and it also ends a sentence.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from generation.moshi.config import TEXT_END_OF_PADDING, TEXT_PADDING
from generation.train.data.item import Word
from generation.train.speech.codes import LEAD_IN

FRAME_RATE_HZ = 12.5


def text_frames(
    words: Sequence[Word],
    tokens: Sequence[Sequence[int]],
    num_frames: int,
    lead_frames: int,
    *,
    ended: bool = True,
) -> NDArray[np.int64] | None:
    """Text tokens [F] of an utterance in the code cache, or None where its words come too fast to be written.

    `tokens`: of each word. `lead_frames` at most LEAD_IN - 1. `ended`: whether an EPAD ends them.
    """
    if not 0 <= lead_frames < LEAD_IN:
        raise ValueError(f"lead_frames is from 0 to {LEAD_IN - 1}, not {lead_frames}")
    text_F = np.full(num_frames, TEXT_PADDING, np.int64)
    free = 0
    for word, pieces in zip(words, tokens, strict=True):
        heard = LEAD_IN + math.floor(word.start_s * FRAME_RATE_HZ)
        announced = max(free, heard - lead_frames - 1)
        free = announced + 1 + len(pieces)
        if free > num_frames - 1:
            return None
        text_F[announced] = TEXT_END_OF_PADDING
        text_F[announced + 1 : free] = pieces
    if ended:
        end = max(free, LEAD_IN + math.ceil(words[-1].end_s * FRAME_RATE_HZ) + 1)
        text_F[min(end, num_frames - 1)] = TEXT_END_OF_PADDING
    return text_F
