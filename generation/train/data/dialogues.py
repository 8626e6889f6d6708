"""Training conversations: dialogues of the corpus, spoken by two synthesizers and laid out as scenes.

    FOLDER/dialogues/dialogue-0007.npy, .json      as cache.py has it; each scene is two rows in turn, Moshi's
                                                   and the user's, of one length

Every dialogue is cut where it would pass SCENE_S, so a long one is several scenes. Moshi speaks with one
voice, its user with another one in each dialogue. Held out: the NUM_HELD_OUT dialogues whose hash is
smallest. Everything is decided by hashes of ids, so a run that was stopped goes on with the next shard.
"""

import json
import lzma
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from generation.errors import TrainingDataError
from generation.speech_text import sentences, spoken
from generation.train.data import cache
from generation.train.data.item import Part, Speaker, SpokenSentence
from generation.train.data.scene import Scene, Side, Turn, heard, lay_out
from generation.train.data.sentences import digest

FOLDER, NAME = "dialogues", "dialogue"
NUM_HELD_OUT = 50
SCENE_S = 15.0
SHARD_SCENES = 60
"""About fifteen minutes of both sides."""

MURMURS = ("yeah.", "right.", "okay.", "mm-hmm.", "I see.")
_WORD_S = 0.37
_SIDES = {"assistant": Side.MOSHI, "user": Side.USER}


class Script(NamedTuple):
    """The turns of one scene; `name` is that of its dialogue with a number."""

    name: str
    part: Part
    turns: tuple[tuple[Side, str], ...]


def scripts(corpus: Path) -> Iterator[Script]:
    """All scenes of the corpus in the order of their hashes, the held-out ones first.

    Raises TrainingDataError when the corpus has no dialogues.
    """
    path = corpus / "text" / "dialogues.jsonl.xz"
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            dialogues = {one["id"]: one["turns"] for one in map(json.loads, file)}
        ordered = sorted(dialogues, key=lambda name: digest("dialogue", name))
        for number, name in enumerate(ordered):
            part = Part.TEST if number < NUM_HELD_OUT else Part.TRAIN
            turns = [(_SIDES[turn["speaker"]], turn["text"]) for turn in dialogues[name]]
            for index, scene in enumerate(_scenes(turns)):
                yield Script(f"{name}/{index}", part, scene)
    except (OSError, lzma.LZMAError, ValueError, KeyError, TypeError) as exc:
        raise TrainingDataError(f"{path} holds no dialogues: {exc}") from exc


def _scenes(turns: Sequence[tuple[Side, str]]) -> Iterator[tuple[tuple[Side, str], ...]]:
    """Consecutive turns that together take at most SCENE_S; a turn that is longer alone is left out."""
    scene: list[tuple[Side, str]] = []
    spent_s = 0.0
    for side, text in turns:
        said = " ".join(sentences(spoken(text)))
        takes_s = _WORD_S * len(said.split())
        if spent_s + takes_s > SCENE_S or not said:
            yield from _whole(scene)
            scene, spent_s = [], 0.0
        if said and takes_s <= SCENE_S:
            scene.append((side, said))
            spent_s += takes_s
    yield from _whole(scene)


def _whole(scene: list[tuple[Side, str]]) -> Iterator[tuple[tuple[Side, str], ...]]:
    if len({side for side, _ in scene}) == len(Side):
        yield tuple(scene)


def build_dialogues(
    corpus: Path,
    out: Path,
    hours: float,
    moshi: Speaker,
    users: Sequence[Speaker],
    note: Callable[[str], None],
) -> float:
    """Fill FOLDER with `hours` of training scenes and the held-out ones; returns the hours there are."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stream, number, train_s = scripts(corpus), 0, 0.0
    while train_s < hours * 3600:
        batch = list(islice(stream, SHARD_SCENES))
        if not batch:
            raise TrainingDataError(f"the dialogues end after {train_s / 3600:.1f} h")
        name = cache.shard_name(NAME, number)
        if not cache.has_shard(folder, name):
            started_s = time.monotonic()
            made = [(_scene(script, moshi, users), script.part) for script in batch]
            items = [(side, part) for scene, part in made if scene is not None for side in scene]
            cache.write_shard(folder, name, items, sum(scene is None for scene, _ in made))
            note(f"{name}: {len(items) // 2} scenes in {time.monotonic() - started_s:.1f} s")
        rows = cache.read_shard(folder, name).rows[::2]
        train_s += sum(row.duration_s for row in rows if row.part is Part.TRAIN)
        number += 1
    return train_s / 3600


def _scene(
    script: Script, moshi: Speaker, users: Sequence[Speaker]
) -> tuple[SpokenSentence, SpokenSentence] | None:
    """Moshi's side and the user's as the line brings it; None where a synthesizer does not follow."""
    dialogue, _, _ = script.name.rpartition("/")
    speakers = {Side.MOSHI: moshi, Side.USER: users[digest("user", dialogue) % len(users)]}
    said = [(side, speakers[side].speak(text)) for side, text in script.turns]
    turns = [Turn(side, one) for side, one in said if one is not None]
    if len(turns) < len(said):
        return None
    rng = np.random.default_rng(digest("scene", script.name))
    scene = lay_out(turns, _murmurs(speakers, rng), rng)
    return scene.moshi, _on_the_line(scene, rng)


def _murmurs(
    speakers: Mapping[Side, Speaker], rng: np.random.Generator
) -> dict[Side, tuple[SpokenSentence, ...]]:
    """One for each side, if its voice can say it."""
    text = MURMURS[int(rng.integers(len(MURMURS)))]
    spoken_by = {side: speaker.speak(spoken(text)) for side, speaker in speakers.items()}
    return {side: (said,) for side, said in spoken_by.items() if said is not None}


def _on_the_line(scene: Scene, rng: np.random.Generator) -> SpokenSentence:
    user = scene.user
    return SpokenSentence(user.text, user.words, heard(scene, rng), user.voice)
