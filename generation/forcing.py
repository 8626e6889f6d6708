"""Saying given words: the model decides when each begins, and writes nothing else.

    forcing = WordForcing(tokens_of_each_word, seed=7)
    stepper = Stepper(model, 1, on_text_logits=forcing.constrain)
    while forcing.phase is not Phase.ENDED: stepper.push(...)

    WAITING   PAD or EPAD, as the model's odds and the noise say; EPAD announces the next word
    WRITING   the tokens of the announced word, one in each frame
    ENDED     EPAD was said once more after the last word: it has been heard

A model that pads for MOST_PADDING frames is made to go on, so a sentence of N words always ends.
Source: Zeghidour et al., 2025, "Streaming Sequence-to-Sequence Learning with Delayed Streams Modeling"; the
tokens stand as in train/speech/frames.py. Not here: what is sampled of the speech.
"""

from collections.abc import Sequence
from enum import Enum, auto

import numpy as np
import torch
from torch import Tensor

from generation.moshi.config import TEXT_END_OF_PADDING, TEXT_PADDING

MOST_PADDING = 25  # frames, 2 s: twice the longest pause within a training sentence


class Phase(Enum):
    """See the module."""

    WAITING = auto()
    WRITING = auto()
    ENDED = auto()


class WordForcing:
    """The text of one sentence on one row."""

    def __init__(
        self, words: Sequence[Sequence[int]], *, seed: int | None = None, temperature: float = 0.7
    ) -> None:
        """`words`: at least one, each of at least one token. `temperature` 0: the likelier of the two."""
        if not words or not all(words):
            raise ValueError("a sentence has words, and each has tokens")
        self.phase = Phase.WAITING
        self._words = [list(word) for word in reversed(words)]  # the next one last
        self._tokens: list[int] = []  # of the announced word, the next one last
        self._temperature = temperature
        self._noise = np.random.default_rng(seed)
        self._num_padding = 0

    @property
    def num_words_left(self) -> int:
        """Words that have not been announced."""
        return len(self._words)

    def constrain(self, logits_BV: Tensor) -> Tensor:
        """The logits [1, V] with all but one token impossible, and one step onwards.

        After the end only padding is possible.
        """
        token = self._next(logits_BV)
        only_BV = torch.full_like(logits_BV, -torch.inf)
        only_BV[:, token] = 0.0
        return only_BV

    def _next(self, logits_BV: Tensor) -> int:
        if self.phase is Phase.WRITING:
            token = self._tokens.pop()
            if not self._tokens:
                self.phase, self._num_padding = Phase.WAITING, 0
            return token
        if self.phase is Phase.ENDED or not self._goes_on(logits_BV):
            self._num_padding += 1
            return TEXT_PADDING
        if self._words:
            self.phase, self._tokens = Phase.WRITING, self._words.pop()[::-1]
        else:
            self.phase = Phase.ENDED
        return TEXT_END_OF_PADDING

    def _goes_on(self, logits_BV: Tensor) -> bool:
        if self._num_padding >= MOST_PADDING:
            return True
        odds = float(logits_BV[0, TEXT_END_OF_PADDING] - logits_BV[0, TEXT_PADDING])
        return odds > self._temperature * float(self._noise.logistic())
