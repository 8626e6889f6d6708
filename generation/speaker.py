"""Text to speech: one voice, 80 ms at a time, sentence by sentence.

    speaker = Speaker.load("voice")
    request = speaker.read("Dr. Smith paid $12.50.", style="slow")     # refused here, before anything is made
    for speech_T in speaker.say(request, seed=7): ...                  # float32 [1920] at 24 kHz

(1) the text is normalised and cut into sentences (speech_text.py); (2) each is said by a stream of its own,
whose words are given, spelled or in phones (pronunciation.py), and whose timing is the model's (forcing.py);
(3) the codec decodes all of them as one
stream. The published models' user is absent: their rows hear nothing.
Dimension key: B rows (one), T samples of a frame, K codebooks, E width. Not here: marking, registering,
encoding (`api`), which everything said here passes through before anybody hears it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from generation.checkpoints import (
    Checkpoint,
    load_conditions,
    load_mimi,
    load_moshi,
    load_pronunciations,
    load_tokenizer,
)
from generation.errors import SpeechRequestError
from generation.forcing import Phase, WordForcing
from generation.mimi import Mimi
from generation.moshi import Guidance, Moshi, Sampling, SeededNoise, Stepper
from generation.moshi.conditions import Conditions
from generation.moshi.config import ZERO_TOKEN
from generation.pronunciation import Pronunciations
from generation.speech_text import sentences, spoken
from generation.text import Text

MAX_WORDS = 4_000
"""About half an hour of speech."""

_WORD_S = 0.37  # of the training speech, pauses included
_LETTER_S = 0.06  # of text that is no English: strings of letters have few words and take long


@dataclass(frozen=True)
class SpeechRequest:
    """What will be said, as `Speaker.read` understood it."""

    sentences: tuple[str, ...]
    conditions: Mapping[str, str]

    @property
    def expected_s(self) -> float:
        """About how long it will take to say, at a usual rate."""
        words = [word for sentence in self.sentences for word in sentence.split()]
        return max(_WORD_S * len(words), _LETTER_S * sum(map(len, words)))


class Speaker:
    """One loaded model. Not thread-safe: one request at a time."""

    def __init__(
        self,
        name: str,
        mimi: Mimi,
        moshi: Moshi,
        text: Text,
        conditions: Conditions | None = None,
        *,
        pronunciations: Pronunciations,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        guidance: Guidance | None = None,
    ) -> None:
        """`sampling`, `guidance`: of everything said."""
        self.name = name
        self.frame_samples = mimi.config.frame_samples
        self._mimi, self._text, self._conditions = mimi.prepare(), text, conditions
        self._pronunciations = pronunciations
        self._moshi = moshi.prepare(1 if guidance is None else 2)
        self._sampling, self._guidance = sampling, guidance

    @classmethod
    def load(cls, model: str | Path, *, device: str = "cpu") -> Self:
        """A model by name or from a folder, in float32. Raises CheckpointError."""
        checkpoint = Checkpoint.open(model)
        return cls(
            checkpoint.label,
            load_mimi(checkpoint, device),
            load_moshi(checkpoint, device, torch.float32),
            load_tokenizer(checkpoint),
            load_conditions(checkpoint, device),
            pronunciations=load_pronunciations(checkpoint),
            sampling=checkpoint.sampling,
            guidance=checkpoint.guidance,
        )

    def choices(self, condition: str) -> tuple[str, ...]:
        """Values of a condition, "style" or "voice", its usual one first; none where the model has no such
        condition."""
        config = None if self._conditions is None else self._conditions.configs.get(condition)
        return () if config is None or config.values is None else config.values

    def read(self, text: str, *, style: str | None = None, voice: str | None = None) -> SpeechRequest:
        """Understand what is to be said, and how (None: the usual). Raises SpeechRequestError."""
        parts = tuple(sentences(spoken(text)))  # (1)
        num_words = sum(len(part.split()) for part in parts)
        if not num_words:
            raise SpeechRequestError("the text holds nothing that can be spoken in English; write some words")
        if num_words > MAX_WORDS:
            raise SpeechRequestError(f"the text has {num_words} words; say at most {MAX_WORDS} at a time")
        conditions = {}
        for name, value in (("style", style), ("voice", voice)):
            choices = self.choices(name)
            if value is not None and value not in choices:
                known = f"choose one of {', '.join(choices)}" if choices else f"this model has one {name}"
                raise SpeechRequestError(f"there is no {name} {value!r}; {known}")
            if choices:
                conditions[name] = value or choices[0]
        return SpeechRequest(parts, conditions)

    @torch.no_grad()
    def say(self, request: SpeechRequest, *, seed: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The speech, frame by frame, as fast as it is asked for: float32 [1920], about [-1, 1].

        `seed` (None: from the system) repeats it on the same kind of device.
        """
        noise = SeededNoise(seed, self._moshi.device)
        heard = self._mimi.open(1)
        for number, sentence in enumerate(request.sentences):
            words = [self._text.encode(self._pronunciations.written(word)) for word in sentence.split()]
            forcing = WordForcing(
                words,
                seed=None if seed is None else seed + number,
                temperature=self._sampling.text_temperature,
            )
            for codes_BK in self._codes(forcing, request.conditions, noise):  # (2)
                speech_BT = self._mimi.decode(heard, codes_BK[:, :, None])  # (3)
                yield speech_BT[0].cpu().numpy()

    def _codes(
        self, forcing: WordForcing, conditions: Mapping[str, str], noise: SeededNoise
    ) -> Iterator[torch.Tensor]:
        stepper = Stepper(
            self._moshi,
            1,
            guidance=self._guidance,
            condition_B1E=self._condition(conditions),
            on_text_logits=forcing.constrain,
        )
        state = stepper.open()
        stepper.begin_row(state, 0, self._sampling, noise)
        nobody_BK = torch.full((1, self._moshi.config.num_heard), ZERO_TOKEN, device=self._moshi.device)
        while forcing.phase is not Phase.ENDED:
            stepper.draw([0])
            step = stepper.push(state, nobody_BK)
            if bool(step.ready_B[0]):
                yield step.tokens_BR[:, 1:]

    def _condition(self, conditions: Mapping[str, str]) -> torch.Tensor | None:
        """The same for the guided stream and for the one it is guided away from, which misses only text."""
        if self._conditions is None:
            return None
        rows = [conditions] * (1 if self._guidance is None else 2)
        vector_B1E: torch.Tensor = self._conditions(rows)
        return vector_B1E
