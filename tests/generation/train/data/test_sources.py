"""The real synthesizers and the real aligner; each test skips where its tool is not installed."""

from pathlib import Path

import numpy as np
import pytest

from audio import SAMPLE_RATE_HZ, corpus
from generation.errors import TrainingDataError
from generation.train.data import espeak, flite
from generation.train.data.align import Aligner
from generation.train.data.item import SpokenSentence

ASSETS = Path(__file__).resolve().parents[3] / "assets"
SENTENCE = "the end of the day was misty, and don't doctor mark's friends look well?"


@pytest.fixture(params=[*espeak.VOICES, *flite.VOICES])
def spoken_sentence(request: pytest.FixtureRequest) -> SpokenSentence:
    try:
        voice = request.param
        speaker = espeak.Espeak(voice) if voice in espeak.VOICES else flite.Flite(voice)
    except TrainingDataError as exc:
        pytest.skip(str(exc))
    sentence = speaker.speak(SENTENCE)
    assert sentence is not None
    return sentence.check()


def test_a_synthesizer_gives_every_word_its_time(spoken_sentence: SpokenSentence) -> None:
    """eSpeak reads "end of the" with fewer events than words, Flite "don't" as two."""
    lengths_s = [word.end_s - word.start_s for word in spoken_sentence.words]
    assert min(lengths_s) > 0.03
    assert 3.0 < spoken_sentence.duration_s < 7.0
    assert float(np.abs(spoken_sentence.wav_T).max()) < 1.0


def test_the_aligner_hears_the_words_where_the_synthesizer_says(spoken_sentence: SpokenSentence) -> None:
    """Two ways to the same times that know nothing of each other."""
    if spoken_sentence.voice == "espeak-gb-m":
        pytest.skip("the aligner's model is of US English and does not follow this voice")
    heard = _aligner().align(SENTENCE, spoken_sentence.wav_T, "heard")
    assert heard is not None
    late_s = np.array([word.start_s for word in heard.words]) - [w.start_s for w in spoken_sentence.words]
    # The two cut the quiet before the first word differently: what is left is the spread around the median.
    assert np.median(np.abs(late_s - np.median(late_s))) < 0.06


def test_a_recording_is_aligned_and_words_not_in_the_dictionary_are_given_a_pronunciation() -> None:
    """The transcripts name Whittemore, whom no dictionary knows."""
    wav_T = corpus.read(ASSETS / "kathleen_1.flac")
    text = (
        "author of the danger trail, philip steels, et cetera. "
        "not at this particular case, tom, apologized whittemore."
    )
    try:
        flite.Flite("slt")
    except TrainingDataError as exc:
        pytest.skip(str(exc))
    sentence = _aligner().align(text, wav_T[: int(7.2 * SAMPLE_RATE_HZ)], "kathleen")
    assert sentence is not None
    assert [word.text for word in sentence.check().words] == text.split()


def test_phones_follow_each_other_and_are_those_of_the_words() -> None:
    """The codec is taught by them; the recording begins with "author of"."""
    wav_T = corpus.read(ASSETS / "kathleen_1.flac")[: int(3.5 * SAMPLE_RATE_HZ)]
    phones = _aligner().phones("author of the danger trail.", wav_T)
    assert [name for name, _, _ in phones if name != "SIL"][:5] == ["AO", "TH", "ER", "AH", "V"]
    starts_s = [start_s for _, start_s, _ in phones]
    assert starts_s == sorted(starts_s)
    assert phones[-1][1] + phones[-1][2] <= 3.5


def test_a_recording_much_too_short_for_its_text_is_none() -> None:
    """A wrong transcript would teach the voice to say other words than the text's."""
    wav_T = corpus.read(ASSETS / "kathleen_1.flac")[: SAMPLE_RATE_HZ // 2]
    assert (
        _aligner().align("and this was not at all what he had said to her that day.", wav_T, "kathleen")
        is None
    )


def test_a_tool_that_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(espeak, "_LIBRARY", "libespeak-nowhere.so.1")
    espeak._library.cache_clear()
    try:
        with pytest.raises(TrainingDataError, match="apt-get install espeak-ng"):
            espeak.Espeak("espeak-us-m")
    finally:
        espeak._library.cache_clear()


def _aligner() -> Aligner:
    pytest.importorskip("pocketsphinx", reason="pip install 'earmark[train]'")
    return Aligner()
