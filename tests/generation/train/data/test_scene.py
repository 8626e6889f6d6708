"""Scenes by hand: turns that take turns, what cuts in, and what both channels then hold."""

import numpy as np
import pytest

from generation.train.data import scene as scenes
from generation.train.data.item import SpokenSentence, Word
from generation.train.data.scene import Scene, Side, Turn, heard, lay_out

RATE = 24_000
WORD_S = 0.4


def said(num_words: int, voice: str, name: str = "w") -> SpokenSentence:
    """Words of 0.3 s, one every 0.4 s, each as loud as its number."""
    words = tuple(Word(f"{name}{n}", n * WORD_S, n * WORD_S + 0.3) for n in range(num_words))
    wav_T = np.zeros(round((num_words * WORD_S + 0.1) * RATE), np.float32)
    for number, word in enumerate(words):
        wav_T[round(word.start_s * RATE) : round(word.end_s * RATE)] = 0.01 * (number + 1)
    return SpokenSentence(" ".join(word.text for word in words), words, wav_T, voice).check()


def turns(*lengths: int) -> list[Turn]:
    """The user first, then in turn."""
    sides = (Side.USER, Side.MOSHI)
    return [Turn(sides[n % 2], said(length, sides[n % 2], f"t{n}w")) for n, length in enumerate(lengths)]


MURMURS = {side: (said(1, side, "yeah"),) for side in Side}


def many(num: int = 300) -> list[Scene]:
    return [lay_out(turns(8, 12, 6, 9, 3), MURMURS, np.random.default_rng(seed)) for seed in range(num)]


def test_both_sides_are_whole_utterances_of_one_length() -> None:
    for scene in many(100):
        assert len(scene.moshi.check().wav_T) == len(scene.user.check().wav_T)
        assert (scene.moshi.voice, scene.user.voice) == ("moshi", "user")
        for side in (scene.moshi, scene.user):
            for word in side.words:  # what a channel holds is where its words say
                middle = round((word.start_s + word.end_s) / 2 * RATE)
                assert side.wav_T[middle] > 0
            assert side.words[0].start_s >= scenes.EDGE_S - 1e-9
            assert len(side.wav_T) / RATE >= side.words[-1].end_s + scenes.EDGE_S - 1e-3


def test_the_user_says_all_and_moshi_all_but_what_was_cut_off() -> None:
    for scene in many(100):
        words = [w.text for w in scene.user.words if not w.text.startswith("yeah")]
        assert words == [f"t{t}w{n}" for t, num in ((0, 8), (2, 6), (4, 3)) for n in range(num)]
        spoken = [w.text for w in scene.moshi.words if not w.text.startswith("yeah")]
        cut = sum(event.kind == "interruption" for event in scene.events)
        assert (len(spoken) == 21) == (cut == 0)
        assert spoken[0] == "t1w0"


def test_who_is_interrupted_stops_after_a_word_and_a_moment() -> None:
    times = []
    for scene in many():
        for event in scene.events:
            if event.kind == "interruption":
                assert event.side is Side.USER
                own = [w for w in scene.moshi.words if not w.text.startswith("yeah")]
                after = [w for w in own if w.start_s < event.at_s + 2.0]
                times.append(max(w.end_s for w in after) - event.at_s)
                assert len({w.text.partition("w")[0] for w in after}) < 3  # of turns: nothing was skipped
    assert len(times) > 60
    assert 0.0 < np.median(times) < scenes.REACTION_S[1] + WORD_S
    assert max(times) < 1.0


def test_everything_that_happens_happens_as_often_as_it_should() -> None:
    """Two of Moshi's turns may be interrupted, four turns be murmured into where there is room."""
    kinds = [event.kind for scene in many() for event in scene.events]
    assert kinds.count("interruption") / 600 == pytest.approx(scenes.INTERRUPTED_SHARE, abs=0.06)
    assert 0.1 < kinds.count("back-channel") / 1200 < scenes.BACK_CHANNEL_SHARE + 0.05
    assert 0.02 < kinds.count("overlap") / 900 < 0.2


def test_a_murmur_takes_no_turn() -> None:
    for scene in many():
        for event in scene.events:
            if event.kind == "back-channel":
                listener = scene.moshi if event.side is Side.MOSHI else scene.user
                [word] = [w for w in listener.words if w.start_s == pytest.approx(event.at_s)]
                others = [w for w in listener.words if w is not word]
                assert all(w.end_s <= word.start_s or w.start_s >= word.end_s for w in others)


def test_a_scene_comes_out_again_and_needs_two_sides() -> None:
    first, again = (lay_out(turns(8, 12, 6), MURMURS, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.user.wav_T, again.user.wav_T)
    assert first.events == again.events
    with pytest.raises(ValueError, match="both sides"):
        lay_out(turns(4), MURMURS, np.random.default_rng(5))


def test_the_line_brings_echo_noise_and_level_but_no_more_than_full_scale() -> None:
    scene = lay_out(turns(8, 12), {}, np.random.default_rng(1))
    lines = [heard(scene, np.random.default_rng(seed)) for seed in range(60)]
    assert all(len(wav_T) == len(scene.user.wav_T) and np.abs(wav_T).max() <= 1.0 for wav_T in lines)
    quiet = (scene.user.wav_T == 0) & (scene.moshi.wav_T == 0)
    noisy = [float(np.std(wav_T[quiet][-4_000:])) > 1e-6 for wav_T in lines]
    assert 0.15 < np.mean(noisy) < 0.6
    loud = [float(np.abs(wav_T).max() / np.abs(scene.user.wav_T).max()) for wav_T in lines]
    assert min(loud) < 0.3 and max(loud) > 2.0
