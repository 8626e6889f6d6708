"""Text to speech with a tiny voice from its files: what it says is noise, in the right order and number."""

from pathlib import Path

import numpy as np
import pytest

from generation import Speaker, SpeechRequestError
from generation.moshi import Moshi
from generation.speaker import MAX_WORDS
from tests.generation.tiny import write_tiny_checkpoint, write_tiny_voice


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    return Speaker.load(write_tiny_voice(tmp_path_factory.mktemp("voices") / "tiny"))


def _said(speaker: Speaker, text: str, seed: int = 7, **how: str) -> np.ndarray:
    return np.concatenate(list(speaker.say(speaker.read(text, **how), seed=seed)))


def test_frames_come_one_at_a_time_as_they_are_made(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener hears the first word while the last is not thought of."""
    steps = 0
    listen = Moshi.listen

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal steps
        steps += 1
        return listen(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Moshi, "listen", counted)
    frames = speaker.say(speaker.read("Hello there, how are you today?"), seed=1)
    for number in range(1, 6):
        frame_T = next(frames)
        assert frame_T.shape == (1920,) and frame_T.dtype == np.float32
        assert steps == number + 1  # one frame of acoustic delay


def test_a_seed_repeats_the_speech_and_another_does_not(speaker: Speaker) -> None:
    one, again, other = (_said(speaker, "Hello there.", seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert len(one) != len(other) or not np.array_equal(one, other)


def test_style_and_voice_change_what_is_said(speaker: Speaker) -> None:
    usual = _said(speaker, "Hello there.")
    assert np.array_equal(usual, _said(speaker, "Hello there.", style="neutral", voice="kathleen"))
    for how in ({"style": "whisper"}, {"voice": "other"}):
        changed = _said(speaker, "Hello there.", **how)
        assert len(changed) != len(usual) or not np.array_equal(changed, usual)


def test_every_sentence_is_said(speaker: Speaker) -> None:
    """A text of two is as long as both: each is said by a stream of its own, with its own noise."""
    request = speaker.read("Hello there. How are you on 12 May?")
    assert request.sentences == ("hello there.", "how are you on twelve may?")
    assert len(_said(speaker, "Hello there. How are you?")) > len(_said(speaker, "Hello there."))


@pytest.mark.parametrize(
    ("text", "how", "named"),
    [
        ("  ...  ", {}, "nothing that can be spoken"),
        ("日本語", {}, "nothing that can be spoken"),
        ("Hello.", {"style": "angry"}, "whisper"),
        ("Hello.", {"voice": "nobody"}, "kathleen"),
        ("word " * (MAX_WORDS + 1), {}, str(MAX_WORDS)),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_can(
    speaker: Speaker, text: str, how: dict[str, str], named: str
) -> None:
    with pytest.raises(SpeechRequestError, match=named):
        speaker.read(text, **how)


def test_a_published_model_speaks_too_and_knows_no_styles(tmp_path: Path) -> None:
    """Seventeen rows, no conditions: the user's rows hear nothing."""
    speaker = Speaker.load(write_tiny_checkpoint(tmp_path / "tiny"))
    assert speaker.choices("style") == ()
    assert len(_said(speaker, "Hello.")) >= 1920
    with pytest.raises(SpeechRequestError, match="one style"):
        speaker.read("Hello.", style="whisper")
