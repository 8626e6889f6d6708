"""What one step trains on: sentences, or scenes, of about the same length, so that hardly a frame is empty.

A batch depends on the run's seed and the step alone, so a run that goes on sees what it would have seen.
Dimension key: B sentences, R rows of a frame's tokens (text, then speech), F frames.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation.moshi.config import TEXT_PADDING, ZERO_TOKEN
from generation.pronunciation import Pronunciations
from generation.text import Text
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.item import Part, Word
from generation.train.speech.codes import CodeCache
from generation.train.speech.config import SpeechRun, Stage
from generation.train.speech.frames import text_frames

_BUCKET_FRAMES = 6
_LONGEST_FRAMES = 200
Item = TypeVar("Item")
Weights = Mapping[int, NDArray[np.float64]]


class Batch(NamedTuple):
    """Aligned frames, as `Stepper` gives them out, and how they were spoken."""

    tokens_BRF: Tensor  # int64; speech ZERO_TOKEN in the text stage, and the user's where nobody is
    lengths_B: Tensor
    conditions: list[dict[str, str]]
    stage: Stage  # what is learned of it


class Sentence(NamedTuple):
    """An utterance ready to be trained on."""

    row: Row
    codes: CodeCache  # at one phase
    text_F: NDArray[np.int64]


class Words:
    """The tokens of words, each encoded once."""

    def __init__(self, text: Text, pronunciations: Pronunciations) -> None:
        """`pronunciations` of those that are not written as they are spelled."""
        self._text, self._pronunciations = text, pronunciations
        self._pieces: dict[str, list[int]] = {}

    def tokens(self, row: Row) -> list[list[int]]:
        """Of each word of an utterance."""
        return [self._of(word.text) for word in row.words]

    def _of(self, word: str) -> list[int]:
        if word not in self._pieces:
            self._pieces[word] = self._text.encode(self._pronunciations.written(word))
        return self._pieces[word]


class Buckets(Generic[Item]):
    """Items sorted into boxes by their length."""

    def __init__(self, items: Sequence[Item], num_frames: Callable[[Item], int], width: int) -> None:
        """`width` in frames: items of a box differ by less."""
        self._width = width
        self._boxes: dict[int, list[Item]] = {}
        for item in items:
            self._boxes.setdefault(num_frames(item) // width, []).append(item)

    def weights(self, weight: Callable[[Item], float] = lambda _: 1.0) -> Weights:
        """How often each item of each box is to be drawn: once for many draws."""
        return {key: np.array([weight(item) for item in box]) for key, box in self._boxes.items()}

    def draw(self, rng: np.random.Generator, frames: int, weights: Weights) -> list[Item]:
        """Items of one box, `frames` of them together if they are that short, at least one."""
        keys = sorted(weights)
        # By frames and not by items: every box gives a batch of as many frames.
        share = np.array([weights[key].sum() * (key + 0.5) for key in keys])
        key = keys[int(rng.choice(len(keys), p=share / share.sum()))]
        num = max(1, frames // ((key + 1) * self._width))
        chosen = rng.choice(len(self._boxes[key]), num, p=weights[key] / weights[key].sum())
        return [self._boxes[key][int(index)] for index in chosen]


class Sentences:
    """The utterances whose words can be written in their frames. `voices`: all of the folder."""

    def __init__(
        self, run: SpeechRun, speech: SpeechCache, rows: list[Row], codes: Sequence[CodeCache], words: Words
    ) -> None:
        """`rows`: those of `speech` that are in the first of `codes`; the others hold the neutral ones of the
        run's voice, at other phases."""
        self._run, self._words = run, words
        self.voices = (run.voice, *sorted({row.voice for row in speech.rows} - {run.voice}))
        train = self._written([row for row in rows if row.part is Part.TRAIN], codes[0])
        own_rows = [row for row in rows if (row.voice, row.style) == (run.voice, "neutral")]
        for later in codes[1:]:
            train += self._written([row for row in own_rows if row.part is Part.TRAIN], later)
        self.held_out = self._written([row for row in own_rows if row.part is Part.TEST], codes[0])
        self._buckets = Buckets(train, lambda sentence: len(sentence.text_F), _BUCKET_FRAMES)
        counts = Counter(self._kind(sentence) for sentence in train)
        each = {kind: self._share(*kind) / num for kind, num in counts.items()}
        self._even = self._buckets.weights()
        self._of_voice = self._buckets.weights(lambda sentence: each[self._kind(sentence)])

    def draw(self, rng: np.random.Generator, stage: Stage) -> Batch:
        """The sentences of a step: in the say stage mostly of one voice and neutral, else all as often."""
        weights = self._of_voice if stage is Stage.SAY else self._even
        return self.batch(self._buckets.draw(rng, self._run.frames, weights), stage)

    def batch(self, sentences: Sequence[Sentence], stage: Stage = Stage.SAY) -> Batch:
        """These sentences side by side."""
        spoken = [None if stage is Stage.TEXT else one.codes.codes(one.row) for one in sentences]
        conditions = [{"voice": one.row.voice, "style": one.row.style} for one in sentences]
        return side_by_side(self._run, [one.text_F for one in sentences], spoken, conditions, stage)

    def _written(self, rows: list[Row], codes: CodeCache) -> list[Sentence]:
        sentences = []
        for row in rows:
            num_frames = codes.num_frames(row)
            late_s = codes.late_s
            words = [Word(text, start_s + late_s, end_s + late_s) for text, start_s, end_s in row.words]
            text_F = text_frames(words, self._words.tokens(row), num_frames, self._run.lead_frames)
            if text_F is not None and num_frames <= _LONGEST_FRAMES:
                sentences.append(Sentence(row, codes, text_F))
        return sentences

    def _kind(self, sentence: Sentence) -> tuple[bool, bool]:
        return sentence.row.voice == self._run.voice, sentence.row.style == "neutral"

    def _share(self, own: bool, neutral: bool) -> float:
        of_voice, of_style = self._run.voice_share, self._run.neutral_share
        return (of_voice if own else 1 - of_voice) * (of_style if neutral else 1 - of_style)


def side_by_side(
    run: SpeechRun,
    texts: Sequence[NDArray[np.int64]],
    spoken: Sequence[NDArray[np.int16] | None],
    conditions: list[dict[str, str]],
    stage: Stage,
) -> Batch:
    """Text [F] and codes [K, F] of each; shorter ones end in padding and empty speech, and rows that have no
    codes are empty."""
    lengths = [len(text_F) for text_F in texts]
    tokens_BRF = np.full((len(texts), run.model.num_rows, max(lengths)), ZERO_TOKEN, np.int64)
    tokens_BRF[:, 0] = TEXT_PADDING
    for tokens_RF, text_F, codes_KF in zip(tokens_BRF, texts, spoken, strict=True):
        tokens_RF[0, : len(text_F)] = text_F
        if codes_KF is not None:
            tokens_RF[1 : 1 + len(codes_KF), : len(text_F)] = codes_KF
    return Batch(torch.from_numpy(tokens_BRF), torch.tensor(lengths), conditions, stage)
