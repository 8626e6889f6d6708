"""The recordings that models are trained and measured on, and the one split that everybody uses.

A folder laid out so: `speech.csv` (file, source, speaker, seconds, original_sample_rate_hz, licence) with
`speech/`; `voice/<name>.csv` (file, text) with `voice/<name>/`; `noise/` and `rir/` with FLAC files.

Split: bucket = sha256("source/speaker") mod 10; 0..5 train, 6 validation, 7..9 test. Sources whose speakers
are anonymous always train, since nobody can say that they are not in the other parts. Noise and rooms are
split by the hash of "noise/file" and "rir/file" in the same way, so that a reported attack uses a noise and a
room that nothing was trained on.

These files are trusted: they are read in process.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio import trusted
from audio.errors import CorpusError

ANONYMOUS_SOURCES = frozenset({"pvintent", "pvwake", "mycroftpd"})
"""Speakers change inside a file, or the column numbers clips and not people."""

VOICE_LICENCES = {"kathleen": "CC0"}
"""voice/<name>.csv has no licence column; from the folder's README."""

_CONTAINERS = {".opus": "ogg", ".ogg": "ogg", ".flac": "flac", ".wav": "wav", ".mp3": "mp3"}


class Kind(StrEnum):
    """What a clip holds."""

    SPEECH = "speech"
    NOISE = "noise"
    ROOM = "rir"  # an impulse response


@dataclass(frozen=True)
class Clip:
    """One file of the corpus. None: no index states the length, the licence or the words."""

    path: Path
    kind: Kind
    source: str
    speaker: str  # for noise and rooms: the file name, which is what they are split by
    seconds: float | None
    licence: str | None
    text: str | None = None


class Split(NamedTuple):
    """Three parts that share no speaker, no noise file and no room."""

    train: list[Clip]
    validation: list[Clip]
    test: list[Clip]


def load(root: Path | str) -> list[Clip]:
    """All speech of the folder, in the order of its index files; nothing is decoded.

    Raises CorpusError when the folder has no `speech.csv` or its columns are other than stated above.
    """
    root = Path(root)
    try:
        clips = [
            Clip(
                path=root / "speech" / row["file"],
                kind=Kind.SPEECH,
                source=row["source"],
                speaker=row["speaker"],
                seconds=float(row["seconds"]),
                licence=row["licence"],
            )
            for row in _rows(root / "speech.csv")
        ]
        for voice in sorted((root / "voice").glob("*.csv")):
            licence = VOICE_LICENCES.get(voice.stem)
            clips += [
                Clip(
                    path=root / "voice" / voice.stem / row["file"],
                    kind=Kind.SPEECH,
                    source=voice.stem,
                    speaker=voice.stem,
                    seconds=None,
                    licence=licence,
                    text=row["text"],
                )
                for row in _rows(voice)
            ]
    except (OSError, KeyError, ValueError) as exc:
        raise CorpusError(f"{root} is not a corpus folder ({exc}); it needs speech.csv and speech/") from exc
    return clips


def load_noise(root: Path | str) -> list[Clip]:
    """Noise recordings, sorted by name; empty when there are none."""
    return _files(Path(root), Kind.NOISE)


def load_rooms(root: Path | str) -> list[Clip]:
    """Impulse responses, sorted by name; empty when there are none."""
    return _files(Path(root), Kind.ROOM)


def split(clips: Iterable[Clip]) -> Split:
    """Sort clips into train, validation and test by speaker, keeping their order. Same clips, same split."""
    parts = Split([], [], [])
    for clip in clips:
        bucket = _bucket(f"{clip.source}/{clip.speaker}")
        if (clip.source in ANONYMOUS_SOURCES and clip.kind is Kind.SPEECH) or bucket <= 5:
            parts.train.append(clip)
        elif bucket == 6:
            parts.validation.append(clip)
        else:
            parts.test.append(clip)
    return parts


def read(path: Path) -> NDArray[np.float32]:
    """One corpus file as mono float32 [T] at 24 kHz, in process.

    Raises CorpusError for a suffix the corpus does not use, DecodeError for a damaged file.
    """
    container = _CONTAINERS.get(path.suffix)
    if container is None:
        raise CorpusError(f"{path.name}: a corpus file ends in one of {', '.join(_CONTAINERS)}")
    return trusted.read(path, container)


def _bucket(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _files(root: Path, kind: Kind) -> list[Clip]:
    # "noise/file" and "rir/file" are what is hashed: the kind stands where speech has its source.
    return [
        Clip(path, kind, kind.value, path.name, None, None)
        for path in sorted((root / kind.value).glob("*.flac"))
    ]
