"""The same sentences spoken again and again by one synthetic voice: the hardest wrong answers there are.

Debian's `espeak-ng` and `flite` read sentences of the corpus (`text/prose.txt.xz`), each by one voice at
several rates at least 14 % apart: closer than that, a rendition is a stretched copy of another and rightly
the same for the fingerprint. Training, validation and test share neither voices nor sentences.

A `Recording`'s source is `respoken`, its speaker the voice and the number of the sentence, so the renditions
of one sentence are to the sampler what the utterances of one speaker are. Not covered: neural voices.
"""

import lzma
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from audio import trusted
from audio.store import Wav, build_store

SOURCE = "respoken"
Part = Literal["train", "validation", "test"]
# (program, voice); of flite's voices rms and awb are nobody's training speech.
VOICES: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (
        ("espeak-ng", "en-us"), ("espeak-ng", "en-us+f3"), ("espeak-ng", "en-gb+m7"),
        ("espeak-ng", "en-gb+f2"), ("flite", "slt"), ("flite", "kal16"),
    ),
    "validation": (("espeak-ng", "en-gb-scotland+m4"), ("flite", "rms")),
    "test": (("espeak-ng", "en-gb-x-rp+m3"), ("espeak-ng", "en-gb-x-gbclan+f4"), ("flite", "awb")),
}  # fmt: skip
RATES = (0.85, 1.0, 1.15, 1.32)
_FIRST_LINE: dict[Part, int] = {"train": 0, "validation": 60_000, "test": 110_000}
_WORDS = (8, 18)


@dataclass(frozen=True)
class Rendition:
    """One sentence read once. `text` names the sentence and its voice, not the words alone."""

    text: str
    rate: float
    wav_T: Wav


def speak(data: Path, part: Part, num_sentences: int) -> Iterator[Rendition]:
    """All renditions of `num_sentences` sentences, a sentence's together; none without programs or text."""
    voices = [voice for voice in VOICES[part] if which(voice[0])]
    if not voices or not (data / "text" / "prose.txt.xz").exists():
        return
    with TemporaryDirectory() as folder:
        for number, sentence in enumerate(sentences(data, part, num_sentences)):
            program, voice = voices[number % len(voices)]
            for rate in RATES:
                wav_T = _read_aloud(program, voice, rate, sentence, Path(folder) / "spoken.wav")
                yield Rendition(f"{voice}/{number}", rate, wav_T)


def build(data: Path, folder: Path, part: Part, num_sentences: int) -> None:
    """The store `respoken_PART` in `folder`; one that is complete is left alone."""
    rows = (
        (f"{one.text.replace('/', '_')}_{one.rate}", SOURCE, one.text, one.wav_T)
        for one in speak(data, part, num_sentences)
    )
    build_store(folder, f"{SOURCE}_{part}", rows)


def sentences(data: Path, part: Part, count: int) -> list[str]:
    """As many sentences of the corpus, of 8 to 18 words; the parts share none."""
    with lzma.open(data / "text" / "prose.txt.xz", "rt", encoding="utf-8") as lines:
        after = (line.strip() for number, line in enumerate(lines) if number >= _FIRST_LINE[part])
        fitting = (line for line in after if _WORDS[0] <= len(line.split()) <= _WORDS[1])
        return [line for line, _ in zip(fitting, range(count), strict=False)]


def _read_aloud(program: str, voice: str, rate: float, sentence: str, out: Path) -> Wav:
    if program == "espeak-ng":
        command = [program, "-v", voice, "-s", str(round(160 * rate)), "-w", str(out), "--", sentence]
    else:
        command = [program, "-voice", voice, "--setf", f"duration_stretch={1 / rate:.3f}", "-t", sentence]
        command += ["-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return np.asarray(trusted.read(out, "wav"), np.float32)
