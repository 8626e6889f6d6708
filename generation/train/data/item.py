"""What every source of speech yields: a sentence, who spoke it and when each word was heard.

Times are seconds from the first sample. `words` are `text.split()`, one to one, in order and without
overlap; each ends before the audio does. Dimension key: T samples at 24 kHz.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple, Protocol, Self

from audio import SAMPLE_RATE_HZ
from audio.store import Wav
from generation.errors import TrainingDataError

_SHORTEST_WORD_S = 0.01  # a word that the aligner or the synthesizer gives no length still takes its place
_LEAD_S = 0.08  # one frame of quiet before the first word and after the last
_TAIL_S = 0.16


class Part(StrEnum):
    """What an item may be used for."""

    TRAIN = "train"
    TEST = "test"  # one of the held-out sentences, whoever speaks it


class Word(NamedTuple):
    """One word of the text, with the mark behind it, and the time in which it is heard."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class SpokenSentence:
    """One utterance. `style` is a name of styles.STYLES."""

    text: str
    words: tuple[Word, ...]
    wav_T: Wav
    voice: str
    style: str = "neutral"

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.wav_T) / SAMPLE_RATE_HZ

    def check(self) -> Self:
        """Itself. Raises TrainingDataError where the rules at the top do not hold."""
        if [word.text for word in self.words] != self.text.split():
            raise TrainingDataError(f"{self.voice}: the words are not those of {self.text!r}")
        edges = [edge for word in self.words for edge in (word.start_s, word.end_s)]
        if any(later < earlier for earlier, later in pairwise([0.0, *edges, self.duration_s])):
            raise TrainingDataError(
                f"{self.voice}: the words of {self.text!r} do not follow each other in time"
            )
        return self

    def trimmed(self) -> Self:
        """Without the quiet before the first word and after the last, but for a little of each."""
        start = max(0, int((self.words[0].start_s - _LEAD_S) * SAMPLE_RATE_HZ))
        end = int((self.words[-1].end_s + _TAIL_S) * SAMPLE_RATE_HZ)
        shift_s = start / SAMPLE_RATE_HZ
        moved = tuple(Word(w.text, w.start_s - shift_s, w.end_s - shift_s) for w in self.words)
        return replace(self, words=moved, wav_T=self.wav_T[start:end])


class Speaker(Protocol):
    """A synthesizer voice."""

    @property
    def voice(self) -> str:
        """Its name in the cache."""

    def speak(self, text: str) -> SpokenSentence | None:
        """A neutral utterance with its words; None where the synthesizer does not follow the text."""


def in_order(text: str, spans_s: list[tuple[float, float]], duration_s: float) -> tuple[Word, ...]:
    """Words of a text from one span each: overlaps are cut at the later start, ends kept inside the audio."""
    words: list[Word] = []
    starts = [min(start, duration_s) for start, _ in spans_s]
    for index, (word, (_, end)) in enumerate(zip(text.split(), spans_s, strict=True)):
        start = max(starts[index], words[-1].end_s if words else 0.0)
        limit = starts[index + 1] if index + 1 < len(starts) else duration_s
        end = max(min(end, limit), start + _SHORTEST_WORD_S)
        words.append(Word(word, start, min(end, max(duration_s, start))))
    return tuple(words)
