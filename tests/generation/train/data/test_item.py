import numpy as np
import pytest

from audio import SAMPLE_RATE_HZ
from generation.errors import TrainingDataError
from generation.train.data.item import SpokenSentence, Word, in_order


def _sentence(*words: Word) -> SpokenSentence:
    return SpokenSentence("one two", words, np.zeros(SAMPLE_RATE_HZ, np.float32), "voice")


def test_spans_that_overlap_are_cut_where_the_next_word_starts() -> None:
    """A synthesizer's and an aligner's times may overlap by a frame; a text stream has one word at a time."""
    words = in_order("one two three", [(0.1, 0.5), (0.4, 0.7), (0.9, 1.4)], 1.2)
    assert words == (Word("one", 0.1, 0.4), Word("two", 0.4, 0.7), Word("three", 0.9, 1.2))


def test_trimming_moves_the_words_with_the_sound() -> None:
    wav_T = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    wav_T[SAMPLE_RATE_HZ] = 1.0
    trimmed = SpokenSentence("one", (Word("one", 1.0, 1.5),), wav_T, "voice").trimmed().check()
    assert int(np.argmax(trimmed.wav_T)) == pytest.approx(trimmed.words[0].start_s * SAMPLE_RATE_HZ, abs=1)
    assert trimmed.duration_s == pytest.approx(0.08 + 0.5 + 0.16, abs=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        (Word("one", 0.0, 0.5),),
        (Word("two", 0.0, 0.5), Word("one", 0.5, 0.6)),
        (Word("one", 0.5, 0.6), Word("two", 0.4, 0.7)),
        (Word("one", 0.5, 0.4), Word("two", 0.6, 0.7)),
        (Word("one", 0.1, 0.2), Word("two", 0.6, 1.1)),
        (Word("one", -0.1, 0.2), Word("two", 0.6, 0.9)),
    ],
)
def test_words_that_are_not_the_texts_or_not_in_order_are_refused(words: tuple[Word, ...]) -> None:
    """Such an item teaches the model to say one word at the time of another."""
    with pytest.raises(TrainingDataError):
        _sentence(*words).check()
