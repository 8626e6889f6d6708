"""What it costs to keep four bits of an embedding's component in place of eight: scores, ranks, false alarms.

    python -m benchmarks.fingerprint.bits --data CORPUS [--every 12]

Two registries of the same speech, every twelfth clip of training speakers and all of validation speakers,
that differ in the codes alone: round(127 e), as before decision 0040, and registry/packing.py. Both are asked
the same queries: pieces of 1, 3 and 5 s of each recording of validation speakers, altered in two ways of six.
Once as they are (copies: accepted, and of the right generation), once with their own recording hidden
(strangers: the best score, and which share of them has a p below a level, which is what the null was fitted
to; among the windows that are there, where a registry is judged as if it had a million). The signs are the
same in both.

Not covered: test speakers and a million windows, which are for benchmarks/fingerprint.
"""

import argparse
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from benchmarks import report
from registry.changelog import GenerationCodes
from registry.fingerprint.train.calibrate import REPEATED_WORDS
from registry.fingerprint.train.gallery import ROW_S, Gallery, Pieces
from registry.fingerprint.windows import HOP_SAMPLES, WINDOW_SAMPLES, Fingerprinter
from registry.null import Null
from registry.packing import pack_codes, quantised

LENGTHS_S = (1.0, 3.0, 5.0)
ALTERED = ("identity", "opus_12k", "telephone_band", "noise_10db", "reverb_0.5s_0db", "stretch_1.05")
LEVELS = (0.1, 0.01, 1e-3)
KINDS = ("eight", "four")


class Asked(NamedTuple):
    """One query's answers by each registry, in the order of KINDS."""

    accepted: tuple[bool, bool]  # and of the right generation
    scores: tuple[float, float]
    strange_scores: tuple[float, float]  # its own recording hidden
    strange_ps: tuple[float, float]


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--every", type=int, default=12, metavar="N", help="of the training speakers' clips")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = corpus.split(corpus.load(report.corpus_root(args.data)))
    fingerprinter = Fingerprinter.load()
    galleries = tuple(Gallery(fingerprinter) for _ in KINDS)
    numbers = {clip.path: register(galleries, clip) for clip in parts.train[:: args.every] + parts.validation}
    print(f"{galleries[0].index.num_windows} windows in each registry; {deflated(galleries[1])}", flush=True)
    asked: dict[float, list[Asked]] = defaultdict(list)
    people = [clip for clip in parts.validation if clip.source not in REPEATED_WORDS]
    for number, clip in enumerate(people):
        for seconds, answer in ask(galleries, corpus.read(clip.path), numbers[clip.path], number):
            asked[seconds].append(answer)
        print(f"\r{number + 1} of {len(people)}", end="", flush=True)
    result = {f"{seconds:g}": summary(answers) for seconds, answers in asked.items()}
    header = ("", *(f"{seconds} s" for seconds in result))
    names = next(iter(result.values()))
    rows = [[name, *(column[name] for column in result.values())] for name in names]
    print("\n" + report.table(header, rows))
    print(f"\nwritten to {report.write('fingerprint_bits', result)}")


def register(galleries: tuple[Gallery, ...], clip: corpus.Clip) -> int:
    """The same windows in both, coded each way; returns their number."""
    wav_T = corpus.read(clip.path)
    windows = galleries[0].fingerprinter.run(wav_T)
    N = len(windows.codes_ND)
    emb_ND = galleries[0].fingerprinter.embed(wav_T, HOP_SAMPLES, num_windows=N)
    coded = np.rint(127.0 * emb_ND).astype(np.int8), quantised(emb_ND)
    for gallery, codes_ND in zip(galleries, coded, strict=True):
        row = GenerationCodes(0, uuid.UUID(int=0), codes_ND, windows.signs_NB, windows.informative_N)
        number = gallery.add_codes(row)
    return number


def ask(
    galleries: tuple[Gallery, ...], wav_T: NDArray[np.float32], own: int, seed: int
) -> Iterator[tuple[float, Asked]]:
    """A piece of each length from each altered copy of a clip."""
    null, rng = Null.load(), np.random.default_rng(seed)
    for name in (ALTERED[seed % 6], ALTERED[(seed + 3) % 6]):
        altered_T = edits.apply(wav_T[: 10 * SAMPLE_RATE_HZ], name, seed=seed)
        if len(altered_T) < WINDOW_SAMPLES:
            continue
        pieces = Pieces(altered_T, galleries[0].fingerprinter)
        for seconds in LENGTHS_S:
            starts = pieces.starts(seconds, ROW_S)
            if not len(starts):
                continue
            row = int(rng.integers(len(starts)))
            prepared, query = pieces.prepared(row, seconds, null), pieces.cut(row, seconds)
            found = [gallery.match(prepared) for gallery in galleries]
            best = [gallery.best(query, [own]) for gallery in galleries]
            strange = [one.score if one else 0.0 for one in best]
            size = galleries[0].index.num_windows
            yield (
                seconds,
                Asked(
                    _pair(bool(one.matches) and one.matches[0].generation_id.int == own for one in found),
                    _pair(one.score for one in found),
                    _pair(strange),
                    _pair(null.false_alarm_probability(s, query.num_windows, size) for s in strange),
                ),
            )


def deflated(gallery: Gallery) -> str:
    """How small stored bytes get where Huffman's code helps the search for repeats, which PostgreSQL's own
    compression is alone."""
    held = gallery.codes.values()
    kinds = {
        "codes": b"".join(pack_codes(one.codes_ND) for one in held),
        "signs": b"".join(one.signs_NB.tobytes() for one in held),
    }
    shares = [f"{kind} to {len(zlib.compress(raw, 9)) / len(raw):.3f}" for kind, raw in kinds.items()]
    return "deflated: " + ", ".join(shares)


def summary(answers: list[Asked]) -> dict[str, Any]:
    """What is told of the queries of one length."""
    accepted = np.array([one.accepted for one in answers])
    scores, strange = (
        np.array([getattr(one, name) for one in answers]) for name in ("scores", "strange_scores")
    )
    ps = np.array([one.strange_ps for one in answers])
    change, other = scores[:, 1] - scores[:, 0], strange[:, 1] - strange[:, 0]
    return {
        "queries": len(answers),
        "copies accepted": _two(*accepted.sum(axis=0)),
        "accepted by one alone": _two(*(accepted & ~accepted[:, ::-1]).sum(axis=0)),
        "mean score of copies": _two(*scores.mean(axis=0).round(2)),
        "its change: mean, deviation": _two(change.mean().round(3), change.std().round(3)),
        "its change: lowest, highest": _two(change.min().round(2), change.max().round(2)),
        "mean score of strangers": _two(*strange.mean(axis=0).round(3)),
        "their change: mean, deviation": _two(other.mean().round(3), other.std().round(3)),
        "best twentieth of strangers": _two(*np.quantile(strange, 0.95, axis=0).round(2)),
        **{f"strangers with p below {p:g}": _two(*(ps < p).sum(axis=0)) for p in LEVELS},
    }


def _pair(values: Iterator[Any] | list[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _two(first: object, second: object) -> str:
    return f"{first} / {second}"


if __name__ == "__main__":
    main()
