"""How often the registry finds an altered copy, how often it finds what it should not, and how fast.

    python -m benchmarks.fingerprint --data FOLDER

(1) Copies: pieces of 10 s of test speakers, altered, against a registry of every clip of the corpus; cut into
    queries of 1, 3, 5 and 10 s. A hit is an accepted match whose best generation is the right one, within
    0.25 s.
(2) False matches: speech of test speakers who are not registered at all, and speech whose own clip is not.
(3) One generation: is this audio that generation? Right copies and other clips of the same voice.
(4) Times as ratios to the length of the audio, on one thread.

Test speakers, noises and rooms were kept out of training and calibration (audio.corpus.split).
"""

import argparse
import multiprocessing
import time
from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from audio.edits import Edit
from benchmarks import report
from benchmarks.report import Proportion
from registry import alignment, matching
from registry.alignment import Alignment
from registry.fingerprint.train import calibrate
from registry.fingerprint.train.gallery import Gallery, slices
from registry.fingerprint.windows import Fingerprinter
from registry.matching import ACCEPT_BELOW, Null, embed_query

LENGTHS_S = (1.0, 3.0, 5.0, 10.0)
ALTERED = (
    "identity", "mp3_32k", "mp3_24k", "opus_24k", "opus_12k", "opus_6k", "noise_10db", "background_10db",
    "babble_10db", "telephone_band", "telephone_call", "amr_nb_12.2k", "reverb_0.5s_0db", "room",
    "speed_0.95", "speed_1.05", "stretch_1.05",
)  # fmt: skip
TOLERANCE_S = 0.25
P_LEVELS = (0.1, 0.01, 1e-3, 1e-4, ACCEPT_BELOW)
OTHER_WORDS = ("speaker not registered", "speaker registered, clip not")
# One source has every speaker say the same isolated words in the same order, once a second.
SAME_WORDS = ("same words, same times, another voice", "same words, same times, same voice")
PIECE_SAMPLES = 10 * SAMPLE_RATE_HZ
Wav = NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """Ten seconds of a registered clip, and where they were cut."""

    ordinal: int
    clip: corpus.Clip
    wav_T: Wav
    offset_s: float


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument(
        "--pieces", type=int, default=120, help="pieces of 10 s that are altered (default 120)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    # Decoding and encoding go on beside the network, which has one thread.
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = run(report.corpus_root(args.data), args.pieces, pool)
    print(f"\nwritten to {report.write('fingerprint', result)}")


def run(data: Path, num_pieces: int, pool: Executor) -> dict[str, Any]:
    """All four measurements; prints each table when it is there."""
    parts = corpus.split(corpus.load(data))
    fingerprinter = Fingerprinter.load()
    result: dict[str, Any] = {"weights_sha256": fingerprinter.weights_sha256, "accept_below": ACCEPT_BELOW}
    gallery, numbers, result["registering"] = _fill(parts, fingerprinter, pool)
    strangers = _strangers_gallery(parts, gallery, numbers)
    pieces = _cut(parts.test, numbers, num_pieces)
    null = Null.load()
    result["copies"] = _copies(data, pieces, gallery, null, pool)
    result["false_matches"] = _false_matches(parts.test, numbers, gallery, strangers, null, pool)
    result["one_generation"] = _one_generation(pieces, gallery, null)
    result["times"] = _times(pieces, gallery)
    return result


def _fill(
    parts: corpus.Split, fingerprinter: Fingerprinter, pool: Executor
) -> tuple[Gallery, dict[Path, int], dict[str, float]]:
    gallery, numbers = Gallery(fingerprinter), {}
    samples, spent_s = 0, 0.0
    clips = [*parts.train, *parts.validation, *parts.test]
    decoded = pool.map(corpus.read, [clip.path for clip in clips], chunksize=8)
    for clip, wav_T in zip(clips, decoded, strict=True):
        started = time.process_time()
        numbers[clip.path] = gallery.add(wav_T)
        spent_s += time.process_time() - started
        samples += len(wav_T)
    hours, num_windows = samples / SAMPLE_RATE_HZ / 3600, gallery.index.num_windows
    rate = hours * 3600 / spent_s
    print(
        f"{len(numbers)} clips, {hours:.2f} h, {num_windows} windows; registered {rate:.0f} x real time (CPU)"
    )
    return gallery, numbers, {"hours": hours, "windows": num_windows, "times_real_time": rate}


def _strangers_gallery(parts: corpus.Split, full: Gallery, numbers: dict[Path, int]) -> Gallery:
    """The same registry without any test speaker."""
    gallery = Gallery(full.fingerprinter)
    for clip in [*parts.train, *parts.validation]:
        gallery.add_codes(full.codes[numbers[clip.path]])
    return gallery


def _cut(clips: list[corpus.Clip], numbers: dict[Path, int], count: int) -> list[Piece]:
    """Pieces from different clips, speakers in turn, each from a random place."""
    rng = np.random.default_rng(11)
    by_speaker: dict[str, list[corpus.Clip]] = defaultdict(list)
    for index in rng.permutation(len(clips)):
        by_speaker[f"{clips[index].source}/{clips[index].speaker}"].append(clips[index])
    pieces: list[Piece] = []
    rounds = max(map(len, by_speaker.values()))
    for clip in [group[n] for n in range(rounds) for group in by_speaker.values() if n < len(group)]:
        wav_T = corpus.read(clip.path)
        if len(wav_T) < PIECE_SAMPLES:
            continue
        start = int(rng.integers(len(wav_T) - PIECE_SAMPLES + 1))
        piece_T = wav_T[start : start + PIECE_SAMPLES]
        pieces.append(Piece(numbers[clip.path], clip, piece_T, start / SAMPLE_RATE_HZ))
        if len(pieces) == count:
            break
    return pieces


def _altered(wav_T: Wav, name: str, other_T: Wav | None, seed: int) -> Wav:
    """Built here, in the child: an Edit does not travel between processes. `other_T` is a noise or a room."""
    edit: str | Edit = name
    if name == "background_10db" and other_T is not None:
        edit = edits.background(other_T, 10.0)
    elif name == "room" and other_T is not None:
        edit = edits.room(other_T)
    elif name == "mp3_24k":
        edit = Edit(name, "mp3", {"bit_rate": 24_000})
    return edits.apply(wav_T, edit, seed=seed)


def _copies(data: Path, pieces: list[Piece], gallery: Gallery, null: Null, pool: Executor) -> dict[str, Any]:
    noises = [corpus.read(clip.path) for clip in corpus.split(corpus.load_noise(data)).test]
    rooms = [corpus.read(clip.path) for clip in corpus.split(corpus.load_rooms(data)).test]
    others = {"background_10db": noises, "room": rooms}
    found: dict[str, dict[float, Proportion]] = {}
    for name in ALTERED:
        hits: dict[float, list[bool]] = defaultdict(list)
        jobs = [
            pool.submit(_altered, piece.wav_T, name, _other(others.get(name), number), number)
            for number, piece in enumerate(pieces)
        ]
        for number, (piece, job) in enumerate(zip(pieces, jobs, strict=True)):
            altered_T = job.result()
            speed = len(piece.wav_T) / len(altered_T) if name.startswith(("speed", "stretch")) else 1.0
            whole = embed_query(altered_T, gallery.fingerprinter)
            for seconds in LENGTHS_S:
                # From a random place, so that the cut does not fall on the registry's grid.
                cuts = slices(whole, seconds, 0.12)
                place = int(np.random.default_rng((number, int(seconds))).integers(max(1, len(cuts))))
                if cuts:
                    query_s = piece.offset_s + place * 0.12 * speed
                    best = gallery.best(cuts[place])
                    hits[seconds].append(_is_hit(best, cuts[place], piece, query_s, gallery, null))
        found[name] = {seconds: Proportion(sum(hits[seconds]), len(hits[seconds])) for seconds in hits}
        print(
            name, *(f"{seconds:g} s {share}" for seconds, share in found[name].items()), sep="  ", flush=True
        )
    rows = [[name, *(by.get(seconds, "") for seconds in LENGTHS_S)] for name, by in found.items()]
    print("\n" + report.table(["copy", *(f"{s:g} s" for s in LENGTHS_S)], rows), flush=True)
    return {name: {f"{s:g}": share.as_json() for s, share in by.items()} for name, by in found.items()}


def _other(recordings: list[Wav] | None, number: int) -> Wav | None:
    return recordings[number % len(recordings)] if recordings else None


def _is_hit(
    best: Alignment | None, query: matching.Query, piece: Piece, query_s: float, gallery: Gallery, null: Null
) -> bool:
    if best is None or best.line.ordinal != piece.ordinal:
        return False
    p = null.false_alarm_probability(best.score, query.num_windows, gallery.index.num_windows)
    match = matching.to_match(best, gallery.codes[piece.ordinal].generation_id, p)
    expected_s = query_s + match.start_s * best.line.speed
    return p <= ACCEPT_BELOW and abs(match.offset_s - expected_s) <= TOLERANCE_S


def _false_matches(
    clips: list[corpus.Clip],
    numbers: dict[Path, int],
    full: Gallery,
    strangers: Gallery,
    null: Null,
    pool: Executor,
) -> dict[str, Any]:
    p_values: dict[tuple[str, float], list[float]] = defaultdict(list)
    damage = ("identity", "noise_10db", "telephone_band", "mp3_32k", "reverb_0.5s_0db")
    jobs = [(clip.path, damage[number % len(damage)], number) for number, clip in enumerate(clips)]
    for clip, wav_T in zip(
        clips, pool.map(_read_altered, *zip(*jobs, strict=True), chunksize=4), strict=True
    ):
        if len(wav_T) < SAMPLE_RATE_HZ:
            continue
        whole = embed_query(wav_T, full.fingerprinter)
        repeats = clip.source in calibrate.REPEATED_WORDS
        who_else, who_same = SAME_WORDS if repeats else OTHER_WORDS
        cases = [(who_else, strangers, []), (who_same, full, [numbers[clip.path]])]
        for seconds in LENGTHS_S:
            for query in slices(whole, seconds, max(3.0, seconds)):
                for who, gallery, hidden in cases:
                    best, size = gallery.best(query, hidden), gallery.index.num_windows
                    p = null.false_alarm_probability(best.score, query.num_windows, size) if best else 1.0
                    p_values[who, seconds].append(p)
    rows, out = [], {}
    for (who, seconds), values in sorted(p_values.items()):
        shares = [Proportion(int(np.sum(np.array(values) <= p)), len(values)) for p in P_LEVELS]
        rows.append([who, f"{seconds:g} s", *shares])
        out[f"{who}, {seconds:g} s"] = {
            f"{p:g}": share.as_json() for p, share in zip(P_LEVELS, shares, strict=True)
        }
    header = ["query", "length", *(f"p <= {p:g}" for p in P_LEVELS)]
    print("\n" + report.table(header, rows), flush=True)
    return out


def _read_altered(path: Path, name: str, seed: int) -> Wav:
    return edits.apply(corpus.read(path)[: 15 * SAMPLE_RATE_HZ], name, seed=seed)


def _one_generation(pieces: list[Piece], gallery: Gallery, null: Null) -> dict[str, Any]:
    """Each piece, after MP3, against its own generation and against the next piece's; 5 s of it."""
    accepted: dict[str, list[bool]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        altered_T = edits.apply(piece.wav_T[: PIECE_SAMPLES // 2], "mp3_32k", seed=number)
        query = embed_query(altered_T, gallery.fingerprinter)
        for who, ordinal in (("own", piece.ordinal), ("other", pieces[number - 1].ordinal)):
            codes = gallery.codes[ordinal]
            best = matching.align_one(query, codes)
            size = int(codes.informative_N.sum())
            p = null.false_alarm_probability(best.score, query.num_windows, size) if best else 1.0
            accepted[who].append(p <= ACCEPT_BELOW)
    out = {who: Proportion(sum(values), len(values)) for who, values in accepted.items()}
    print(
        f"\none generation, 5 s after MP3 32k: own accepted {out['own']}, another accepted {out['other']}",
        flush=True,
    )
    return {who: share.as_json() for who, share in out.items()}


def _times(pieces: list[Piece], gallery: Gallery) -> dict[str, float]:
    """CPU seconds for each second of audio, 10 s pieces, one thread."""
    spent = {"embed": 0.0, "search": 0.0}
    for piece in pieces[:30]:
        started = time.process_time()
        query = embed_query(piece.wav_T, gallery.fingerprinter)
        spent["embed"] += time.process_time() - started
        started = time.process_time()
        gallery.best(query)
        spent["search"] += time.process_time() - started
    seconds = 10.0 * len(pieces[:30])
    ratios = {name: value / seconds for name, value in spent.items()}
    rows = [["embed a query", f"{ratios['embed']:.4f}"], ["search and match", f"{ratios['search']:.4f}"]]
    print(
        "\n"
        + report.table([f"one thread, {alignment.ROWS_PER_WINDOW} rows a window", "s per s of audio"], rows)
    )
    return ratios


if __name__ == "__main__":
    main()
