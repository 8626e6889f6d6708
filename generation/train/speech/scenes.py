"""Conversations to train on: what Moshi says and writes, and what it hears meanwhile.

    scenes = Scenes(run, mimi, words, report)      # of run.data/dialogues (train/data/dialogues.py)
    batch = scenes.draw(rng)                       # rows: Moshi's text, its speech, the user's speech

Both sides are coded as a line brings them, with the same silence before and behind, so the user's frame f is
heard while Moshi's frame f is. The text is Moshi's alone and ahead of its speech as in a sentence; nothing
ends it, since a conversation goes on.
Source: Moshi (Defossez et al., 2024, sec. 3.4.4 and 4.2). Dimension key: K codebooks, F frames.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from generation.errors import TrainingDataError
from generation.mimi import Mimi
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.dialogues import FOLDER
from generation.train.data.item import Part
from generation.train.speech.batches import Batch, Buckets, Words, side_by_side
from generation.train.speech.codes import CodeCache
from generation.train.speech.config import SpeechRun, Stage
from generation.train.speech.frames import text_frames

_BUCKET_FRAMES = 25


class Scene(NamedTuple):
    """Both sides, and Moshi's text in the frames that they share."""

    moshi: Row
    user: Row
    text_F: NDArray[np.int64]


class Scenes:
    """The conversations of a speech folder whose words can be written in their frames.

    `voice`: Moshi's in all of them. `held_out`: scenes of the dialogues that nothing is trained on.
    """

    def __init__(self, run: SpeechRun, mimi: Mimi, words: Words, report: Callable[[str], None]) -> None:
        """Encodes what is not encoded yet. Raises TrainingDataError where there are none."""
        speech = SpeechCache(run.data / FOLDER)
        if not speech.rows:
            raise TrainingDataError(
                f"{run.data} has no conversations: run earmark train data --hours-dialogues first"
            )
        self._run = run
        self._codes = CodeCache(speech, speech.rows, mimi, run.out, report)
        self.voice = speech.rows[0].voice
        pairs = list(zip(speech.rows[::2], speech.rows[1::2], strict=True))
        train = self._written(words, [pair for pair in pairs if pair[0].part is Part.TRAIN])
        self.held_out = self._written(words, [pair for pair in pairs if pair[0].part is Part.TEST])
        self._buckets = Buckets(train, lambda scene: len(scene.text_F), _BUCKET_FRAMES)
        self._even = self._buckets.weights()

    def draw(self, rng: np.random.Generator) -> Batch:
        """The scenes of a step."""
        return self.batch(self._buckets.draw(rng, self._run.frames, self._even))

    def batch(self, scenes: Sequence[Scene]) -> Batch:
        """These scenes side by side."""
        both = [
            np.concatenate([self._codes.codes(scene.moshi), self._codes.codes(scene.user)])
            for scene in scenes
        ]
        conditions = [{"voice": scene.moshi.voice, "style": scene.moshi.style} for scene in scenes]
        texts = [scene.text_F for scene in scenes]
        return side_by_side(self._run, texts, both, conditions, Stage.DIALOGUE)

    def _written(self, words: Words, pairs: Sequence[tuple[Row, Row]]) -> list[Scene]:
        scenes = []
        for moshi, user in pairs:
            if moshi.length != user.length or moshi.voice != self.voice:
                raise TrainingDataError(
                    f"{moshi.shard} does not hold two sides in turn: delete it and run earmark train data"
                )
            text_F = text_frames(
                moshi.words,
                words.tokens(moshi),
                self._codes.num_frames(moshi),
                self._run.lead_frames,
                ended=False,
            )
            if text_F is not None:
                scenes.append(Scene(moshi, user, text_F))
        return scenes
