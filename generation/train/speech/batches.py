"""What one step trains on: sentences of about the same length, so that hardly a frame is empty.

A batch depends on the run's seed and the step alone, so a run that goes on sees what it would have seen.
Dimension key: B sentences, R rows of a frame's tokens (text, then speech), F frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation.moshi.config import TEXT_PADDING, ZERO_TOKEN
from generation.text import Text
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.item import Part
from generation.train.speech.codes import CodeCache
from generation.train.speech.config import SpeechRun, Stage
from generation.train.speech.frames import text_frames

_BUCKET_FRAMES = 6
_LONGEST_FRAMES = 200


class Batch(NamedTuple):
    """Aligned frames, as `Stepper` gives them out, and how they were spoken."""

    tokens_BRF: Tensor  # int64; speech ZERO_TOKEN in the text stage
    lengths_B: Tensor
    conditions: list[dict[str, str]]


class Sentence(NamedTuple):
    """An utterance ready to be trained on."""

    row: Row
    text_F: NDArray[np.int64]


class Sentences:
    """The utterances whose words can be written in their frames. `voices`: all of the folder."""

    def __init__(
        self, run: SpeechRun, speech: SpeechCache, rows: list[Row], codes: CodeCache, text: Text
    ) -> None:
        """`rows`: those of `speech` that are in `codes`."""
        self._run, self._codes = run, codes
        self._pieces: dict[str, list[int]] = {}
        self._text = text
        self.voices = (run.voice, *sorted({row.voice for row in speech.rows} - {run.voice}))
        train = self._written([row for row in rows if row.part is Part.TRAIN])
        self.held_out = self._written(
            [row for row in rows if (row.part, row.voice, row.style) == (Part.TEST, run.voice, "neutral")]
        )
        self._buckets: dict[int, list[Sentence]] = {}
        for sentence in train:
            self._buckets.setdefault(len(sentence.text_F) // _BUCKET_FRAMES, []).append(sentence)
        own = sum(sentence.row.voice == run.voice for sentence in train)
        self._own_weight = run.voice_share / max(1, own)
        self._other_weight = (1 - run.voice_share) / max(1, len(train) - own)

    def draw(self, step: int) -> Batch:
        """The sentences of a step."""
        stage = self._run.stage(step)
        rng = np.random.default_rng((self._run.seed, step))
        weights = {key: self._weights(bucket, stage) for key, bucket in self._buckets.items()}
        keys = sorted(weights)
        # By frames and not by sentences: every bucket gives a batch of as many frames.
        share = np.array([weights[key].sum() * (key + 0.5) for key in keys])
        key = keys[int(rng.choice(len(keys), p=share / share.sum()))]
        num = max(1, self._run.frames // ((key + 1) * _BUCKET_FRAMES))
        chosen = rng.choice(len(self._buckets[key]), num, p=weights[key] / weights[key].sum())
        return self.batch([self._buckets[key][int(index)] for index in chosen], stage)

    def batch(self, sentences: Sequence[Sentence], stage: Stage = Stage.SAY) -> Batch:
        """These sentences side by side; shorter ones end in padding and empty speech."""
        lengths = [len(sentence.text_F) for sentence in sentences]
        num_rows, longest = self._run.model.num_rows, max(lengths)
        tokens_BRF = np.full((len(sentences), num_rows, longest), ZERO_TOKEN, np.int64)
        tokens_BRF[:, 0] = TEXT_PADDING
        for tokens_RF, (row, text_F) in zip(tokens_BRF, sentences, strict=True):
            tokens_RF[0, : len(text_F)] = text_F
            if stage is not Stage.TEXT:
                codes_KF = self._codes.codes(row)
                tokens_RF[1 : 1 + len(codes_KF), : len(text_F)] = codes_KF
        conditions = [{"voice": one.row.voice, "style": one.row.style} for one in sentences]
        return Batch(torch.from_numpy(tokens_BRF), torch.tensor(lengths), conditions)

    def _written(self, rows: list[Row]) -> list[Sentence]:
        sentences = []
        for row in rows:
            num_frames = self._codes.num_frames(row)
            tokens = [self._tokens(word.text) for word in row.words]
            text_F = text_frames(row.words, tokens, num_frames, self._run.lead_frames)
            if text_F is not None and num_frames <= _LONGEST_FRAMES:
                sentences.append(Sentence(row, text_F))
        return sentences

    def _tokens(self, word: str) -> list[int]:
        if word not in self._pieces:
            self._pieces[word] = self._text.encode(word)
        return self._pieces[word]

    def _weights(self, bucket: list[Sentence], stage: Stage) -> NDArray[np.float64]:
        if stage is not Stage.SAY:
            return np.ones(len(bucket))
        own = np.array([sentence.row.voice == self._run.voice for sentence in bucket])
        return np.where(own, self._own_weight, self._other_weight)
