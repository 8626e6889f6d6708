"""Conversations from texts to shards, with voices that need no synthesizer."""

import json
import lzma
from pathlib import Path

import pytest

from generation.errors import TrainingDataError
from generation.train.data import Part, SpeechCache, dialogues
from generation.train.data.dialogues import build_dialogues, scripts
from generation.train.data.item import SpokenSentence
from generation.train.data.scene import Side
from tests.generation.train.data.test_scene import said


class Reads:
    """A voice of beeps, one for each word; it cannot say what is named."""

    def __init__(self, voice: str, fails_at: str = "never") -> None:
        self.voice, self._fails_at = voice, fails_at

    def speak(self, text: str) -> SpokenSentence | None:
        if self._fails_at in text:
            return None
        beeps = said(len(text.split()), self.voice)
        words = tuple(word._replace(text=own) for word, own in zip(beeps.words, text.split(), strict=True))
        return SpokenSentence(text, words, beeps.wav_T, self.voice)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """200 dialogues of four turns; every third is long."""
    (tmp_path / "text").mkdir()
    with lzma.open(tmp_path / "text" / "dialogues.jsonl.xz", "wt") as file:
        for number in range(200):
            texts = [f"This is dialogue {number}, and I speak.", "Yes, do."] * 2
            if number % 3 == 0:
                texts[1] = "I am going to say a good deal more about all of this, because it is mine. " * 2
            turns = [{"speaker": ("user", "assistant")[n % 2], "text": text} for n, text in enumerate(texts)]
            file.write(json.dumps({"id": f"d-{number}", "turns": turns}) + "\n")
    return tmp_path


def test_scenes_are_cut_in_time_and_fifty_dialogues_are_held_out(corpus: Path) -> None:
    found = list(scripts(corpus))
    held = {one.name.rpartition("/")[0] for one in found if one.part is Part.TEST}
    assert len(held) == dialogues.NUM_HELD_OUT
    assert [one.part for one in found] == sorted((one.part for one in found), key=lambda part: part != "test")
    for one in found:
        assert {side for side, _ in one.turns} == set(Side)
        assert sum(len(text.split()) for _, text in one.turns) * 0.37 <= dialogues.SCENE_S
    assert found == list(scripts(corpus))
    assert len({one.name for one in found}) == len(found)


def test_a_run_that_lost_a_shard_writes_the_same_again(corpus: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", []  # type: ignore[var-annotated]
    users = [Reads("ann"), Reads("bob")]

    def build(hours: float) -> float:
        return build_dialogues(corpus, out, hours, Reads("moshi"), users, notes.append)

    assert 0.05 <= build(0.05) < 0.4
    folder = out / "dialogues"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "dialogue-0001.json").unlink()
    build(0.05)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    rows = SpeechCache(folder).rows
    for moshi, user in zip(rows[::2], rows[1::2], strict=True):
        assert (moshi.voice, moshi.length, moshi.part) == ("moshi", user.length, user.part)
        assert user.voice in ("ann", "bob")
    assert {row.voice for row in rows[1::2]} == {"ann", "bob"}
    assert SpeechCache(out).rows == []  # conversations are no sentences of `say`


def test_what_a_voice_cannot_say_costs_its_scene_only(corpus: Path, tmp_path: Path) -> None:
    build_dialogues(corpus, tmp_path / "out", 0.01, Reads("moshi"), [Reads("ann", "dialogue nine")], print)
    dropped = SpeechCache(tmp_path / "out" / "dialogues").num_dropped["dialogue"]
    assert 0 < dropped < 40


def test_a_corpus_without_dialogues_or_with_too_few_is_said(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"dialogues.jsonl.xz"):
        list(scripts(tmp_path / "absent"))
    with pytest.raises(TrainingDataError, match="dialogues end"):
        build_dialogues(corpus, tmp_path / "out", 9.0, Reads("moshi"), [Reads("ann")], print)
