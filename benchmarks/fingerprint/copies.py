"""(1) Copies: pieces of 10 s of test speakers, altered, cut into queries of 1, 3, 5 and 10 s.

A hit is a query whose best accepted match is the right generation within 0.25 s. Also here: the error of
the offset of accepted right matches, montages, and the comparison with one generation.
"""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from audio.edits import Edit
from benchmarks import report
from benchmarks.fingerprint.registered import Registered
from benchmarks.report import Proportion
from generation.train.codec.recode import recoder
from registry import matching
from registry.fingerprint.train.gallery import ROW_S, Gallery, Pieces
from registry.matching import Match
from registry.null import Null
from registry.query import embed_query

LENGTHS_S = (1.0, 3.0, 5.0, 10.0)
TOLERANCE_S = 0.25
PIECE_SAMPLES = 10 * SAMPLE_RATE_HZ
AMR = {"codec": "libopencore_amrnb", "rate_hz": 8_000, "bit_rate": 4_750}
OWN = {
    "aac_48k": Edit("aac_48k", "aac", {"bit_rate": 48_000}),
    "amr_nb_4.75k": Edit("amr_nb_4.75k", "telephone_codec", AMR),
    "noise_0db": Edit("noise_0db", "white_noise", {"snr_db": 0.0}),
    "reverb_1s_0db": Edit("reverb_1s_0db", "simulated_reverb", {"rt60_s": 1.0, "drr_db": 0.0}),
}
# Name, and how many times as fast the copy is.
ALTERED = {
    "identity": 1.0, "opus_24k": 1.0, "mp3_64k": 1.0, "aac_48k": 1.0, "opus_12k": 1.0, "opus_8k": 1.0,
    "g711_mulaw": 1.0, "telephone_band": 1.0, "amr_nb_12.2k": 1.0, "amr_nb_4.75k": 1.0, "mimi_8": 1.0,
    "noise_10db": 1.0, "noise_0db": 1.0, "background_10db": 1.0, "babble_10db": 1.0, "reverb_1s_0db": 1.0,
    "room": 1.0, "stretch_0.95": 0.95, "stretch_1.05": 1.05, "stretch_1.1": 1.1, "speed_0.9": 0.9,
    "speed_0.95": 0.95, "speed_1.05": 1.05, "speed_1.1": 1.1, "pitch_-2": 1.0, "pitch_-1": 1.0,
    "pitch_+1": 1.0, "pitch_+2": 1.0, "editor_pitch_-1": 1.0, "editor_pitch_+1": 1.0,
}  # fmt: skip
Wav = NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """Ten seconds of a registered clip, and where they were cut."""

    ordinal: int
    wav_T: Wav
    offset_s: float


def cut(clips: list[corpus.Clip], numbers: dict[Path, int], count: int) -> list[Piece]:
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
        pieces.append(Piece(numbers[clip.path], piece_T, start / SAMPLE_RATE_HZ))
        if len(pieces) == count:
            break
    return pieces


def named(patterns: str) -> list[str]:
    """The edits of the table that one of the patterns names, in its order."""
    return [name for name in ALTERED if any(fnmatch(name, one) for one in patterns.split(","))]


def measure(
    data: Path,
    codec: Path | None,
    names: list[str],
    pieces: list[Piece],
    registered: Registered,
    null: Null,
    pool: Executor,
) -> dict[str, Any]:
    """Print the table of copies and return it."""
    noises = [corpus.read(clip.path) for clip in corpus.split(corpus.load_noise(data)).test]
    rooms = [corpus.read(clip.path) for clip in corpus.split(corpus.load_rooms(data)).test]
    others = {"background_10db": noises, "room": rooms}
    rows: list[list[object]] = []
    out: dict[str, Any] = {}
    for name in names:
        if name == "mimi_8" and codec is None:
            continue
        speed = ALTERED[name]
        hits: dict[float, list[bool]] = defaultdict(list)
        errors_s: list[float] = []
        jobs = [
            pool.submit(_altered, piece.wav_T, name, _other(others.get(name), number), codec, number)
            for number, piece in enumerate(pieces)
        ]
        for number, (piece, job) in enumerate(zip(pieces, jobs, strict=True)):
            whole = Pieces(job.result(), registered.full.fingerprinter)
            for seconds in LENGTHS_S:
                starts = whole.starts(seconds, ROW_S)
                if not len(starts):
                    continue  # a faster copy of 10 s is shorter
                row = int(np.random.default_rng((number, int(seconds))).integers(len(starts)))
                expected_s = piece.offset_s + row * ROW_S * speed
                found = registered.full.match(whole.prepared(row, seconds, null)).matches
                right = bool(found) and found[0].generation_id.int == piece.ordinal
                error_s = found[0].offset_s - expected_s - found[0].start_s * speed if right else np.inf
                hits[seconds].append(abs(error_s) <= TOLERANCE_S)
                errors_s += [error_s] if right else []
        shares = {seconds: Proportion(sum(values), len(values)) for seconds, values in hits.items()}
        off_ms = (
            [round(1000 * float(np.percentile(np.abs(errors_s), q))) for q in (50, 95)] if errors_s else []
        )
        rows.append([name, *(shares.get(s, "") for s in LENGTHS_S), " / ".join(map(str, off_ms))])
        out[name] = {f"{s:g}": share.as_json() for s, share in shares.items()}
        out[name]["offset_error_ms"] = off_ms
        print(*rows[-1], sep="  ", flush=True)
    header = ["copy", *(f"{s:g} s" for s in LENGTHS_S), "offset error, ms: median / p95"]
    print("\n" + report.table(header, rows), flush=True)
    return out


def montages(pieces: list[Piece], strangers: list[tuple[int, Wav]], gallery: Gallery) -> dict[str, Any]:
    """17 s: 3 s of A, B, and A again from another place, each between 2 s of a voice that is hidden.

    A span is found when an accepted match of its generation covers it with at least 0.7 of the union.
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for number, (first, second) in enumerate(zip(pieces, pieces[1:] + pieces[:1], strict=True)):
        hidden, other_T = strangers[number % len(strangers)]
        gaps = [other_T[k * 48_000 :][:48_000] for k in range(4)]
        ours = [
            (first.ordinal, first.wav_T[:72_000]),
            (second.ordinal, second.wav_T[72_000:144_000]),
            (first.ordinal, first.wav_T[144_000:216_000]),
        ]
        wav_T = np.concatenate([gaps[0], ours[0][1], gaps[1], ours[1][1], gaps[2], ours[2][1], gaps[3]])
        matches = gallery.match(matching.prepare(wav_T, gallery.fingerprinter), (hidden,)).matches
        for place, (ordinal, _) in enumerate(ours):
            begin_s = (len(gaps[0]) * (place + 1) + 72_000 * place) / SAMPLE_RATE_HZ
            overlaps = [
                _union_share(m, begin_s, begin_s + 3.0) for m in matches if m.generation_id.int == ordinal
            ]
            found["spans"].append(max(overlaps, default=0.0) >= 0.7)
        right = {ordinal for ordinal, _ in ours}
        found["others"] += [m.generation_id.int not in right for m in matches]
    out = {who: Proportion(sum(values), len(values)) for who, values in found.items()}
    print(f"\nmontages: spans found {out['spans']}; of all matches, of another generation {out['others']}")
    return {who: share.as_json() for who, share in out.items()}


def one_generation(pieces: list[Piece], gallery: Gallery, null: Null) -> dict[str, Any]:
    """Each piece, after MP3, against its own generation and against the next piece's; 5 s of it."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        altered_T = edits.apply(piece.wav_T[: PIECE_SAMPLES // 2], "mp3_32k", seed=number)
        query = embed_query(altered_T, gallery.fingerprinter)
        prepared = matching.Prepared(query, None, null)
        for who, ordinal in (("own", piece.ordinal), ("other", pieces[number - 1].ordinal)):
            counts[who].append(matching.compare(prepared, gallery.codes[ordinal]).outcome == "found")
    out = {who: Proportion(sum(values), len(values)) for who, values in counts.items()}
    print(f"\none generation, 5 s after MP3 32k: own accepted {out['own']}, another accepted {out['other']}")
    return {who: share.as_json() for who, share in out.items()}


def _altered(wav_T: Wav, name: str, other_T: Wav | None, codec: Path | None, seed: int) -> Wav:
    """Built here, in the child: an Edit does not travel between processes. `other_T` is a noise or a room."""
    if name == "mimi_8" and codec is not None:
        return _recoder(codec)(wav_T)
    edit: str | Edit = OWN.get(name, name)
    if name == "background_10db" and other_T is not None:
        edit = edits.background(other_T, 10.0)
    elif name == "room" and other_T is not None:
        edit = edits.room(other_T)
    return edits.apply(wav_T, edit, seed=seed)


@lru_cache(maxsize=1)
def _recoder(codec: Path) -> Callable[[Wav], Wav]:
    torch.set_num_threads(1)
    return recoder(codec)


def _other(recordings: list[Wav] | None, number: int) -> Wav | None:
    return recordings[number % len(recordings)] if recordings else None


def _union_share(match: Match, begin_s: float, end_s: float) -> float:
    both_s = min(match.end_s, end_s) - max(match.start_s, begin_s)
    return both_s / (max(match.end_s, end_s) - min(match.start_s, begin_s))
