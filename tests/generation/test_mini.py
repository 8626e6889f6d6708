"""The packaged voice, from its files: it speaks, in the style asked for, again if asked, and converses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, trusted
from generation import MINI_VOICE, Dialogue, Speaker
from generation.train.data.effects import level_db

ASSETS = Path(__file__).parents[1] / "assets"
TEXT = "The weather will be fine tomorrow, and we will walk along the river."
NUM_WORDS = 13


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as `earmark say`
    yield Speaker.load(MINI_VOICE)
    torch.set_num_threads(threads)


def said(speaker: Speaker, text: str = TEXT, style: str | None = None, seed: int = 7) -> NDArray[np.float32]:
    return np.concatenate(list(speaker.say(speaker.read(text, style=style), seed=seed)))


def test_it_is_named_and_says_what_it_can(speaker: Speaker) -> None:
    assert speaker.name == "mini"
    assert speaker.choices("voice") == ("flite-slt", "kathleen")
    assert len(speaker.choices("style")) >= 11


def test_a_sentence_takes_as_long_as_a_person_takes_and_is_heard(speaker: Speaker) -> None:
    wav_T = said(speaker)
    assert 0.2 < len(wav_T) / SAMPLE_RATE_HZ / NUM_WORDS < 0.7
    assert np.isfinite(wav_T).all() and np.abs(wav_T).max() < 1.2
    assert -35 < level_db(wav_T) < -15


def test_a_seed_says_it_again(speaker: Speaker) -> None:
    first, again, other = (said(speaker, "Good morning to you all.", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[: len(other)], other[: len(first)])


def test_a_style_is_heard(speaker: Speaker) -> None:
    """The plainest of them; all are measured by benchmarks/voice_styles.py."""
    slower, faster, soft, loud = (
        said(speaker, style=style) for style in ("slower", "faster", "soft", "loud")
    )
    assert len(slower) > 1.4 * len(faster)
    assert level_db(loud) > level_db(soft) + 8


def test_it_is_a_partner_too_frame_for_frame() -> None:
    """Whether it answers and stops is measured by benchmarks/converse.py."""
    dialogue = Dialogue.load(MINI_VOICE)
    row, samples = dialogue.open(seed=7), dialogue.frame_samples
    user_T = trusted.read(ASSETS / "kathleen_1.flac", "flac")[: 40 * samples]
    said = [dialogue.step({row: frame_T}).get(row) for frame_T in np.split(user_T, 40)]
    heard = [one.speech_T for one in said if one is not None]
    assert len(heard) >= 38
    assert all(len(speech_T) == samples and np.isfinite(speech_T).all() for speech_T in heard)
    assert np.abs(np.concatenate(heard)).max() < 1.2
