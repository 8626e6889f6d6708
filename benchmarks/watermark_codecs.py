"""What low-rate speech codecs leave of the keyed mark: found and read in 5, 10 and 30 s.

    python -m benchmarks.watermark_codecs --data CORPUS [--speakers 20] [--codec FILE ...]

30 s of each test speaker, clips joined, marked as one recording. Every codec runs over the whole; detection
hears the first 5, 10 and 30 s of what comes out. Codec 2 runs Debian's `c2enc` and `c2dec`; where they are
not installed its rows say so. `--codec` adds a neural codec of `earmark train codec` with 8 codebooks. GSM
06.10 and Speex have no encoder in PyAV's build of FFmpeg and no row.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, corpus, edits
from audio.edits import CATALOGUE, CODEC2, codec2_is_installed
from benchmarks.marked_clips import KEY, Marked, mark_all
from benchmarks.report import Proportion, corpus_root, table, write
from generation.train.codec.recode import recoder
from watermark import Detector, Outcome

Floats = npt.NDArray[np.float32]

LENGTHS_S = (5, 10, 30)
LONGEST_SAMPLES = max(LENGTHS_S) * SAMPLE_RATE_HZ
_FROM_CATALOGUE = ("opus_12k", "opus_8k", "opus_6k", "amr_nb_12.2k", "amr_nb_4.75k")
CODECS = [*(CATALOGUE[name] for name in _FROM_CATALOGUE), *CODEC2.values()]


def long_clips(root: Path, num_speakers: int) -> Iterator[Floats]:
    """Yield 30 s of each of the first test speakers who spoke that long, in a fixed random order."""
    of_speaker: dict[tuple[str, str], list[corpus.Clip]] = defaultdict(list)
    test = corpus.split(corpus.load(root)).test
    for index in np.random.default_rng(8).permutation(len(test)):
        clip = test[index]
        if (clip.seconds or 0) >= 3:
            of_speaker[clip.source, clip.speaker].append(clip)
    num_found = 0
    for clips in of_speaker.values():
        if sum(clip.seconds or 0 for clip in clips) < max(LENGTHS_S) + 1:
            continue
        if num_found == num_speakers:
            return
        joined: list[Floats] = []
        while sum(map(len, joined)) < LONGEST_SAMPLES and len(joined) < len(clips):
            joined.append(corpus.read(clips[len(joined)].path))
        wav_T = np.concatenate(joined)[:LONGEST_SAMPLES]
        if len(wav_T) == LONGEST_SAMPLES:
            num_found += 1
            yield wav_T


def survival(marked: list[Marked], through: Callable[[Floats], Floats]) -> dict[int, dict[str, Any]]:
    """Return, for each length in seconds, how often the mark is found, how often read, how often misread."""
    detector = Detector.load(key=KEY)
    counts = {seconds: {"found": 0, "read": 0, "wrong": 0} for seconds in LENGTHS_S}
    for clip in marked:
        heard_T = through(clip.marked_T)
        for seconds, count in counts.items():
            answer = detector.detect(heard_T[: seconds * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
            count["found"] += answer.outcome is Outcome.FOUND
            count["read"] += answer.payload == clip.content_id
            count["wrong"] += answer.payload not in (None, clip.content_id)
    num = len(marked)
    return {
        seconds: {
            "found": Proportion(count["found"], num),
            "read": Proportion(count["read"], num),
            "wrong": count["wrong"],
        }
        for seconds, count in counts.items()
    }


def main() -> None:
    """Measure every codec that is here, print the table, write it."""
    parser = argparse.ArgumentParser(description="Measure the keyed watermark under low-rate codecs.")
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--speakers", type=int, default=20)
    parser.add_argument(
        "--codec", type=Path, action="append", default=[], help="a codec.safetensors, named by its folder"
    )
    arguments = parser.parse_args()
    marked = mark_all(list(long_clips(corpus_root(arguments.data), arguments.speakers)))
    rows: list[list[Any]] = []
    result: dict[str, Any] = {"speakers": len(marked)}
    attacks: dict[str, Callable[[Floats], Floats] | None] = {
        codec.name: partial(edits.apply, edit=codec)
        if codec.operation != "codec2" or codec2_is_installed()
        else None
        for codec in CODECS
    }
    attacks |= {f"neural, {file.parent.name}": recoder(file) for file in arguments.codec}
    for name, through in attacks.items():
        if through is None:
            rows.append([name, *["not measured: no c2enc and c2dec (apt-get install codec2)"] * 3, ""])
            continue
        of = survival(marked, through)
        cells = [f"{of[s]['found'].hits} / {of[s]['read'].hits}" for s in LENGTHS_S]
        rows.append([name, *cells, sum(of[s]["wrong"] for s in LENGTHS_S)])
        print(*rows[-1], file=sys.stderr, flush=True)
        result[name] = {
            s: {"found": of[s]["found"].as_json(), "read": of[s]["read"].as_json()} for s in LENGTHS_S
        }
    header = [
        f"found / read, of {len(marked)}",
        *(f"{seconds} s" for seconds in LENGTHS_S),
        "wrong content ids",
    ]
    print("\n" + table(header, rows))
    print("\nwritten:", write("watermark_codecs", result))


if __name__ == "__main__":
    main()
