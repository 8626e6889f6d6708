"""How often the registry finds an altered copy, how often it finds what it should not, and how fast.

    python -m benchmarks.fingerprint --data FOLDER [--codec FILE] [--part copies|negatives]
        [--edits 'pitch*,speed*']

(1) Copies (copies.py), (2) false matches (negatives.py), against registries of `--windows` windows: all clips
    of the corpus and distractors made from their embeddings (registered.py). The thresholds are those of that
    size.
(3) Times as ratios to the length of the audio, on one thread.

Test speakers, voices, sentences, noises and rooms were kept out of training and calibration
(audio.corpus.split, registry.fingerprint.train.respoken).
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from audio import corpus
from benchmarks import report
from benchmarks.fingerprint import copies, negatives
from benchmarks.fingerprint.copies import Piece
from benchmarks.fingerprint.registered import Registered, fill, likeness
from registry import alignment, matching
from registry.fingerprint.train import calibrate
from registry.fingerprint.windows import Fingerprinter
from registry.matching import ACCEPT_BELOW
from registry.null import Null

PARTS = ("copies", "negatives")


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--codec", type=Path, help="codec.safetensors for re-encoding; without: left out")
    parser.add_argument("--windows", type=int, default=1_000_000, help="size of the registry")
    parser.add_argument("--pieces", type=int, default=80, help="pieces of 10 s that are altered")
    parser.add_argument("--edits", default="*", help="copies with these edits: names with *, by commas")
    parser.add_argument("--sentences", type=int, default=100, help="synthetic ones, each said four times")
    parser.add_argument("--every", type=int, default=1, help="false matches of every so many test clips")
    parser.add_argument("--part", choices=PARTS, help="only this; written under its own name")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # Decoding and encoding go on beside the network, which has one thread.
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = run(args, report.corpus_root(args.data), pool)
    name = f"fingerprint_{args.part}" if args.part else "fingerprint"
    print(f"\nwritten to {report.write(name, result)}")


def run(args: argparse.Namespace, data: Path, pool: Executor) -> dict[str, Any]:
    """The measurements asked for; prints each table when it is there."""
    parts = corpus.split(corpus.load(data))
    fingerprinter, null = Fingerprinter.load(), Null.load()
    registered = fill(parts, fingerprinter, pool, args.windows)
    like = likeness(registered.full, registered.num_real_windows)
    print(
        f"{len(registered.numbers)} clips, {registered.hours:.2f} h, {registered.num_real_windows} windows, "
        f"distractors to {registered.full.index.num_windows}; registered {registered.times_real_time:.0f} x "
        f"real time (CPU); " + ", ".join(f"{name} {value:.3g}" for name, value in like.items()),
        flush=True,
    )
    result: dict[str, Any] = {
        "weights_sha256": fingerprinter.weights_sha256,
        "accept_below": ACCEPT_BELOW,
        "windows": registered.full.index.num_windows,
        "real_windows": registered.num_real_windows,
        "registered_times_real_time": registered.times_real_time,
        "likeness": like,
    }
    if args.part in (None, "copies"):
        pieces = copies.cut(parts.test, registered.numbers, args.pieces)
        names = copies.named(args.edits)
        result["copies"] = copies.measure(data, args.codec, names, pieces, registered, null, pool)
        bystanders = _bystanders(parts.test, pieces, registered)
        result["montages"] = copies.montages(pieces, bystanders, registered.full)
        result["one_generation"] = copies.one_generation(pieces, registered.full, null)
        result["times"] = _times(pieces, registered)
    if args.part in (None, "negatives"):
        clips = parts.test[:: args.every]
        result["false_matches"] = negatives.measure(data, clips, registered, null, pool, args.sentences)
    return result


def _bystanders(
    clips: list[corpus.Clip], pieces: list[Piece], registered: Registered
) -> list[tuple[int, copies.Wav]]:
    """Clips of 8 s and more that no piece was cut from, and their numbers."""
    used = {piece.ordinal for piece in pieces}
    clips = [clip for clip in clips if clip.source not in calibrate.REPEATED_WORDS]
    unused = [clip for clip in clips if registered.numbers[clip.path] not in used]
    read = [
        (registered.numbers[clip.path], corpus.read(clip.path))
        for clip in unused[:: max(1, len(unused) // 60)]
    ]
    return [(number, wav_T) for number, wav_T in read if len(wav_T) >= 192_000]


def _times(pieces: list[Piece], registered: Registered) -> dict[str, float]:
    """CPU seconds for each second of audio, queries of 5 s that are nowhere registered, one thread."""
    spent = {"embed a query": 0.0, "search and match as it is": 0.0, "and at two other pitches": 0.0}
    used = pieces[:30]

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        done = work()
        spent[name] += time.process_time() - started
        return done

    for piece in used:
        wav_T, gallery = piece.wav_T[: copies.PIECE_SAMPLES // 2], registered.strangers
        prepared = timed("embed a query", partial(matching.prepare, wav_T, gallery.fingerprinter))
        as_it_is = replace(prepared, heard=None)
        timed("search and match as it is", partial(gallery.match, as_it_is))
        timed("and at two other pitches", partial(gallery.match, prepared))
    spent["and at two other pitches"] -= spent["search and match as it is"]
    ratios = {name: value / (5.0 * len(used)) for name, value in spent.items()}
    rows = [[name, f"{ratio:.4f}"] for name, ratio in ratios.items()]
    header = [f"one thread, {alignment.ROWS_PER_WINDOW} rows a window", "s per s of audio"]
    print("\n" + report.table(header, rows), flush=True)
    return ratios


if __name__ == "__main__":
    main()
