"""Utterances on disk: shards of samples, each with a JSON file that says what lies where.

    VOICE-0007.npy     int16 [T], the utterances one after the other at 24 kHz
    VOICE-0007.json    {"dropped": 2, "items": [{"text", "words": [[word, start_s, end_s], …], "voice",
                       "style", "part", "start", "length"}, …]}; start and length in samples

The samples are on disk under their name before the JSON file is, and both appear by rename: a shard without
its JSON file does not exist and is written again. A shard is never changed.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from audio.durable import write_durably
from generation.errors import TrainingDataError
from generation.train.data.item import Part, SpokenSentence, Word

_FULL_SCALE = 32767


@dataclass(frozen=True)
class Row:
    """An utterance of the cache, without its samples."""

    text: str
    words: tuple[Word, ...]
    voice: str
    style: str
    part: Part
    shard: str
    start: int
    length: int

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return self.length / SAMPLE_RATE_HZ


class Shard(NamedTuple):
    """Its utterances, and how many could not be made."""

    rows: list[Row]
    num_dropped: int


class SpeechCache:
    """Every utterance of a folder. Rows are in the order of shard names; samples are mapped, not read."""

    def __init__(self, folder: Path) -> None:
        """Raises TrainingDataError for a damaged shard; a folder without shards is empty."""
        self.folder = folder
        self.rows: list[Row] = []
        self.num_dropped: dict[str, int] = {}
        for path in sorted(folder.glob("*-[0-9][0-9][0-9][0-9].json")):
            shard = read_shard(folder, path.stem)
            self.rows += shard.rows
            voice = path.stem[:-5]
            self.num_dropped[voice] = self.num_dropped.get(voice, 0) + shard.num_dropped
        self._samples = lru_cache(maxsize=64)(self._map)

    def select(self, part: Part, voice: str | None = None, style: str | None = None) -> list[Row]:
        """Rows of one part; of one voice and one style where they are given."""
        return [
            row
            for row in self.rows
            if row.part is part and voice in (None, row.voice) and style in (None, row.style)
        ]

    def samples(self, row: Row) -> NDArray[np.int16]:
        """int16 [T], a view of the file."""
        return self._samples(row.shard)[row.start : row.start + row.length]

    def read(self, row: Row) -> SpokenSentence:
        """The utterance with its samples as float32."""
        wav_T = self.samples(row).astype(np.float32) / np.float32(_FULL_SCALE)
        return SpokenSentence(row.text, row.words, wav_T, row.voice, row.style)

    def _map(self, shard: str) -> NDArray[np.int16]:
        samples: NDArray[np.int16] = np.load(self.folder / f"{shard}.npy", mmap_mode="r")
        return samples


def shard_name(voice: str, number: int) -> str:
    """At most 10,000 shards a voice."""
    return f"{voice}-{number:04d}"


def read_shard(folder: Path, name: str) -> Shard:
    """What a shard holds. Raises TrainingDataError when it is damaged or not there."""
    path = folder / f"{name}.json"
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
        return Shard([_row(item, name) for item in listing["items"]], int(listing["dropped"]))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise TrainingDataError(f"{path} is damaged ({exc}): delete it and run again") from exc


def has_shard(folder: Path, name: str) -> bool:
    """Whether it is there, whole."""
    return (folder / f"{name}.json").exists()


def write_shard(
    folder: Path, name: str, items: Iterable[tuple[SpokenSentence, Part]], num_dropped: int
) -> None:
    """Write a shard durably. Each item is checked; raises TrainingDataError for one that is wrong."""
    rows, parts, start = [], [np.zeros(0, np.int16)], 0
    for item, part in items:
        item.check()
        pcm = np.round(np.clip(item.wav_T, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
        rows.append(asdict(Row(item.text, item.words, item.voice, item.style, part, name, start, len(pcm))))
        parts.append(pcm)
        start += len(pcm)
    # (1) A crash here leaves at most a .part file, which the next run overwrites.
    write_durably(folder / f"{name}.npy", lambda file: np.save(file, np.concatenate(parts)))
    # (2) A crash here leaves samples that no JSON file names; the next run overwrites them.
    listing = json.dumps({"dropped": num_dropped, "items": rows}).encode()
    write_durably(folder / f"{name}.json", lambda file: file.write(listing))
    # (3) From here on the shard exists.


def _row(item: dict[str, object], shard: str) -> Row:
    fields = {name: item[name] for name in ("text", "voice", "style", "start", "length")}
    words = tuple(Word(*word) for word in item["words"])  # type: ignore[attr-defined]  # a JSON list
    return Row(**fields, words=words, part=Part(item["part"]), shard=shard)  # type: ignore[arg-type]
