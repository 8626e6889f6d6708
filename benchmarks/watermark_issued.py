"""Marks that cannot be read: how often they are named among issued ids, how often wrongly, and how fast.

    python -m benchmarks.watermark_issued --data CORPUS [--speakers 60]

The clips, keys, edits and random pieces of benchmarks.watermark, from speakers of the test split. "Named of
N" counts what is read and what is recognised with the true id and N - 1 random ones as the issued ids, paid
for as the service pays: two books (all ids, and those that the fingerprint finds likely), and all tries.
"Named wrongly": a million ids, the true one not among them. The null counts single ids, so that its numbers
are large.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, edits
from benchmarks.marked_clips import KEY, Marked, clips, mark_all
from benchmarks.report import Proportion, corpus_root, table, write
from watermark import ID_BITS, Codebook, Detector, Outcome, contradicts
from watermark.issued import MAX_FALSE_ALARM_PROBABILITY, chance
from watermark.keyed import features
from watermark.keyed.detect import KeyedDetector
from watermark.keyed.tracks import Track
from watermark.payload import encode
from watermark.result import Unread

Floats = npt.NDArray[np.float32]

EDITS = ("noise_10db", "noise_20db", "mp3_16k", "opus_12k", "amr_nb_12.2k")
LENGTHS_S = (5, 10)
NUM_ISSUED = (10, 1_000, 100_000, 1_000_000)  # ten: what a fingerprint search finds likely
BOOKS = 2
LEVELS = (1e-5, 1e-6, 1e-7, 1e-8)
OTHERS = 200  # ids that a mark is not, and should deny


@dataclass(frozen=True)
class Heard:
    """One piece of a marked clip, and what was made of it. `unread`: the mark that was found and not read."""

    found: bool
    read: bool
    unread: Unread | None
    content_id: int


def pieces(marked: list[Marked], edit: str, seconds: int) -> Iterator[Heard]:
    """Detect the mark in a random piece of each clip, as benchmarks.watermark takes it."""
    detector = Detector.load(key=KEY)
    for seed, clip in enumerate(marked):
        edited_T = edits.apply(clip.marked_T, edit, seed=seed)
        spare = max(0, len(edited_T) - seconds * SAMPLE_RATE_HZ)
        start = int(np.random.default_rng(seed).integers(spare + 1))
        answer = detector.detect(edited_T[start : start + seconds * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
        read = answer.payload == clip.content_id
        unread = answer.unread[0] if answer.unread and not read else None
        yield Heard(answer.outcome is Outcome.FOUND, read, unread, clip.content_id)


@dataclass(frozen=True)
class Vector:
    """Soft bits with the z of a million ids that were never issued, and of the true one."""

    soft: Floats
    others_N: Floats
    true_z: float
    num_tries: int

    def p(self, z: float, num_ids: int) -> float:
        return BOOKS * self.num_tries * num_ids * chance(self.soft, z)

    def names(self, num_ids: int) -> bool:
        """Whether the true id is recognised with the first `num_ids` - 1 others beside it."""
        surest = self.p(self.true_z, num_ids) <= MAX_FALSE_ALARM_PROBABILITY
        return surest and self.true_z > float(self.others_N[: num_ids - 1].max())

    def misnames(self) -> bool:
        return self.p(float(self.others_N.max()), len(self.others_N)) <= MAX_FALSE_ALARM_PROBABILITY

    def limit(self, level: float) -> float:
        """The z from which on the bound for one id is at most `level`."""
        low, high = 4.5, 12.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if chance(self.soft, middle) > level else (low, middle)
        return high


def vectors(mark: Unread, book: Codebook, content_id: int | None) -> list[Vector]:
    """Score each try of a mark; `content_id` None: it carries none."""
    scored = []
    for heard in mark.tries:
        soft = np.array(heard.bits, np.float32)
        true_z = 0.0
        if content_id is not None:
            true_z = float(soft @ encode(KEY, content_id)) / float(np.linalg.norm(soft))
        scored.append(Vector(soft, book.scores(soft), true_z, len(mark.tries)))
    return scored


def survival(marked: list[Marked], book: Codebook, null: Null) -> dict[str, Any]:
    """Found, read and named, for every edit and length; what was heard goes into the null, too."""
    rows: list[list[object]] = []
    result: dict[str, Any] = {}
    unread = wrong = denied = denied_others = 0
    others = np.random.default_rng(12).integers(0, 1 << ID_BITS, OTHERS)
    for edit in EDITS:
        for seconds in LENGTHS_S:
            heard = list(pieces(marked, edit, seconds))
            named = dict.fromkeys(NUM_ISSUED, sum(one.read for one in heard))
            for one in heard:
                if one.unread is None:
                    continue
                scored = vectors(one.unread, book, one.content_id)
                unread += 1
                wrong += any(vector.misnames() for vector in scored)
                denied += contradicts(KEY, one.unread, one.content_id)
                denied_others += sum(contradicts(KEY, one.unread, int(n)) for n in others)
                for num_ids in NUM_ISSUED:
                    named[num_ids] += any(vector.names(num_ids) for vector in scored)
                for vector in scored:
                    null.count("marked, damaged, not read", vector)
            total = len(heard)
            found = Proportion(sum(one.found for one in heard), total)
            read = Proportion(sum(one.read for one in heard), total)
            counts = [Proportion(named[num_ids], total) for num_ids in NUM_ISSUED]
            rows.append([edit, f"{seconds} s", found, read, *counts])
            print(*rows[-1], file=sys.stderr, flush=True)
            result[f"{edit}, {seconds} s"] = {
                "found": found.as_json(),
                "read": read.as_json(),
                "named": {n: count.as_json() for n, count in zip(NUM_ISSUED, counts, strict=True)},
            }
    header = ["edit", "", "found", "read", *(f"named of {n:,}" for n in NUM_ISSUED)]
    print("\n" + table(header, rows), flush=True)
    said = {
        "named wrongly, of a million": Proportion(wrong, unread),
        "denies its own id": Proportion(denied, unread),
        "denies another id": Proportion(denied_others, unread * OTHERS),
    }
    print("\n" + table(["marks that were not read", "of all edits"], list(said.items())), flush=True)
    return result | {name: count.as_json() for name, count in said.items()}


class Null:
    """How many of the ids that were never issued reach each level, by what the soft bits are from."""

    def __init__(self) -> None:
        self.trials: dict[str, int] = {}
        self.counts: dict[str, list[int]] = {}

    def count(self, kind: str, vector: Vector) -> None:
        self.trials[kind] = self.trials.get(kind, 0) + len(vector.others_N)
        counts = self.counts.setdefault(kind, [0] * len(LEVELS))
        for n, level in enumerate(LEVELS):
            counts[n] += int((vector.others_N >= vector.limit(level)).sum())

    def report(self) -> dict[str, Any]:
        rows = [
            [kind, f"{trials:.1e}", *(f"{count / trials:.1e} ({count})" for count in self.counts[kind])]
            for kind, trials in self.trials.items()
        ]
        print("\n" + table(["soft bits of", "ids", *(f"p <= {n:g}" for n in LEVELS)], rows), flush=True)
        return {kind: {"trials": n, "counts": self.counts[kind]} for kind, n in self.trials.items()}


def best_place(keyed: KeyedDetector, wav_T: Floats) -> Unread:
    """What a detector would hear at the likeliest place, were a mark found in this audio."""
    plane = features.tile_features(wav_T)
    best = max(keyed._syncs(plane), key=lambda sync: sync.z)
    track = Track(best, best.offset_frames, best.first_frame, best.first_frame + best.num_frames)
    return keyed._unread(plane, track, keyed._marked_parts(plane, track))


def speed(book: Codebook) -> dict[str, Any]:
    """Processor time of what an unread mark costs beside its detection."""
    soft = np.random.default_rng(2).standard_normal(256).astype(np.float32)
    fresh = np.random.default_rng(3).integers(0, 1 << ID_BITS, 100_000)
    rows = [
        [f"score {len(book):,} ids", f"{_ms(lambda: book.scores(soft)):.0f} ms", "each try"],
        ["bound of one z", f"{_ms(lambda: chance(soft, 6.0)):.0f} ms", "each try, where z >= 4.5"],
        ["add 1,000,000 ids", f"{10 * _ms(lambda: Codebook(KEY, fresh), 3):.0f} ms", "once"],
    ]
    print("\n" + table(["step", "processor time", "when"], rows), flush=True)
    return {str(name): taken for name, taken, _ in rows}


def _ms(call: Any, num: int = 9) -> float:
    taken = []
    for _ in range(num):
        start = time.process_time()
        call()
        taken.append(1000 * (time.process_time() - start))
    return float(np.median(taken))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure how unread marks are named among issued ids.")
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--only", default="survival,speed")
    arguments = parser.parse_args()
    book = Codebook(KEY, np.random.default_rng(11).integers(0, 1 << ID_BITS, max(NUM_ISSUED)))
    result: dict[str, Any] = {"speakers": arguments.speakers}
    if "survival" in arguments.only:
        marked = mark_all(list(clips(corpus_root(arguments.data), arguments.speakers)))
        null, keyed = Null(), KeyedDetector(KEY)
        result["survival"] = survival(marked, book, null)
        for clip in marked:
            for vector in vectors(best_place(keyed, clip.host_T), book, None):
                null.count("unmarked", vector)
        result["null"] = null.report()
    if "speed" in arguments.only:
        result["speed"] = speed(book)
    print("\nwritten:", write("watermark_issued", result))


if __name__ == "__main__":
    main()
