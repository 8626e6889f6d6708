"""Where text stands in the frames: written by hand, because the model learns whatever is written."""

import numpy as np
import pytest

from generation.forcing import WordForcing
from generation.train.data.item import Word
from generation.train.speech.codes import LEAD_IN
from generation.train.speech.frames import text_frames

P, E = 3, 0


def test_words_are_announced_by_the_lead_and_the_end_by_itself() -> None:
    """Frames of 80 ms; the first word is heard in frame 6 (LEAD_IN), the second in 6 + 10."""
    assert LEAD_IN == 6
    words = (Word("hello", 0.0, 0.5), Word("you.", 0.81, 1.1))
    text_F = text_frames(words, [[7, 8], [9]], 26, 4)
    assert text_F is not None
    # frame           0  1  2  3  4  5  6  7  8  9  10 11 12 …
    expected = [P, E, 7, 8, P, P, P, P, P, P, P, E, 9, P, P, P, P, P, P, P, P, E, P, P, P, P]
    assert text_F.tolist() == expected


def test_quick_words_wait_for_the_frames_of_the_one_before() -> None:
    words = (Word("a", 0.0, 0.08), Word("b", 0.08, 0.16), Word("c", 0.16, 0.24))
    text_F = text_frames(words, [[7, 8, 9], [5], [6]], 20, 4)
    assert text_F is not None
    assert text_F[:10].tolist() == [P, E, 7, 8, 9, E, 5, E, 6, P]
    assert text_F.tolist().count(E) == 4


def test_a_text_too_long_for_its_speech_is_not_used() -> None:
    words = (Word("incomprehensibilities", 0.0, 0.1),)
    assert text_frames(words, [list(range(10, 25))], 14, 4) is None


def test_speaking_reads_what_training_wrote() -> None:
    """The forcing, driven by a model that has learned these frames by heart, writes the same frames."""
    import torch

    words = (Word("hello", 0.0, 0.5), Word("you", 0.6, 0.7), Word("there.", 0.7, 1.1))
    tokens = [[7, 8], [9], [10, 11, 6]]
    text_F = text_frames(words, tokens, 30, 4)
    assert text_F is not None
    forcing = WordForcing(tokens, temperature=0.0)
    said = []
    for token in text_F:
        logits_BV = torch.zeros(1, 12)
        logits_BV[0, int(token)] = 5.0
        said.append(int(forcing.constrain(logits_BV).argmax()))
    assert np.array_equal(said, text_F)


def test_a_lead_beyond_the_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="lead_frames"):
        text_frames((Word("a", 0.0, 0.1),), [[7]], 20, LEAD_IN)
