"""How fast, how exact and how large the index is as the registry grows.

    python -m benchmarks.index --data FOLDER [--sizes 100000 1000000 10000000]

(1) Search: windows of speech from training speakers, grown to each size by a smoothed bootstrap: a real
    window plus half a draw from the windows' covariance, made a unit vector again (Silverman and Young 1987).
    They are sealed into a folder as the service does it; a fresh process loads that folder and searches it
    with as many rows as a query of 5 s has. Recall is of the 20 best windows by exact inner products.
    Copies: a stored window turned away to a cosine of 0.7; strangers: windows of test speakers.
(2) Ingest: recordings registered through the registry, embedding included, against their length.

Not covered: accuracy on altered audio (benchmarks/fingerprint); what an hour takes in PostgreSQL
(benchmarks/storage.py).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus
from benchmarks import report
from benchmarks.process import memory_mib
from registry import Registry
from registry.changelog import BATCH_ROWS, Change
from registry.fingerprint.windows import HOP_SAMPLES, Fingerprinter
from registry.index import WindowIndex
from registry.index.quantizer import unit
from registry.index.store import SegmentStore
from registry.packing import quantised

SIZES = (100_000, 1_000_000, 10_000_000)
QUERY_ROWS, DEPTH = 42, 20  # a query of 5 s: all of its rows; registry/candidates.py
GENERATION_WINDOWS = 250  # two minutes
BLOCK = 100 * GENERATION_WINDOWS
SEARCHES = 100
COPY_COSINE = 0.7
SMOOTHING = 0.5
WINDOWS_PER_HOUR = 3600 * SAMPLE_RATE_HZ / HOP_SAMPLES

Codes = NDArray[np.int8]
Emb = NDArray[np.float32]


def main() -> None:
    """Parse, run, print, write; with --load, the fresh process of (1)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--hours", type=float, default=0.5, help="speech that is registered for (2)")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.load:
        print(json.dumps(load_and_search(args.load)))
        return
    root = report.corpus_root(args.data)
    fingerprinter = Fingerprinter.load()
    split = corpus.split(corpus.load(root))
    real_ND, num_real = _embedded(fingerprinter, split.train, 8_000)
    strangers_ND, _ = _embedded(fingerprinter, split.test, 1_000)
    result: dict[str, Any] = {"real_windows": num_real, "sizes": []}
    rows = []
    for size in args.sizes:
        measured = measure_size(size, real_ND, strangers_ND, fingerprinter.weights_sha256)
        result["sizes"].append(measured)
        rows.append([f"{size:.0e}", f"{size / WINDOWS_PER_HOUR:.0f} h", *_cells(measured)])
        print(report.table(SEARCH_HEADER, rows[-1:]), flush=True)
    print("\n" + report.table(SEARCH_HEADER, rows))
    result["ingest"] = ingest(split.train, args.hours)
    print("\n" + report.table(("", ""), [[name, f"{value:.2f}"] for name, value in result["ingest"].items()]))
    print(f"\nwritten to {report.write('index', result)}")


SEARCH_HEADER = (
    "windows", "speech", "search of 5 s, median", "p95", "top-1 / top-20 copies", "top-1 / top-20 strangers",
    "start", "memory", "MB an hour", "sealed, windows/s",
)  # fmt: skip


def _cells(measured: dict[str, Any]) -> list[str]:
    recalls = [
        f"{measured[f'{kind}_recall_1']:.3f} / {measured[f'{kind}_recall_20']:.3f}"
        for kind in ("copies", "strangers")
    ]
    return [
        f"{measured['search_median_ms']:.1f} ms", f"{measured['search_p95_ms']:.1f} ms", *recalls,
        f"{measured['start_s']:.2f} s", f"{measured['memory_mib']:.0f} MiB",
        f"{measured['megabytes_per_hour']:.3f}", f"{measured['sealed_per_s']:.0f}",
    ]  # fmt: skip


def measure_size(size: int, real_ND: Emb, strangers_ND: Emb, weights_sha256: str) -> dict[str, Any]:
    """(1) for one size."""
    with tempfile.TemporaryDirectory(prefix="earmark-index-") as name:
        folder = Path(name)
        index = WindowIndex(weights_sha256, store=SegmentStore(folder / "index"))
        sample_ND = next(blocks(2 * BLOCK, real_ND))
        started_s = time.perf_counter()
        index.fill(size, sample_ND, _changes(size, real_ND, weights_sha256))
        sealed_s = time.perf_counter() - started_s
        copies_ND = _turned(unit(next(blocks(BLOCK, real_ND))[:: BLOCK // 200][:200]))
        found = {
            kind: _recall(index, emb_ND, size, real_ND)
            for kind, emb_ND in (("copies", copies_ND), ("strangers", strangers_ND[::5][:200]))
        }
        np.save(folder / "queries.npy", strangers_ND)
        command = [sys.executable, "-m", "benchmarks.index", "--load", str(folder)]
        loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        stored = sum(path.stat().st_size for path in (folder / "index").glob("*.segment"))
    return {
        "windows": size,
        "sealed_per_s": size / sealed_s,
        "megabytes_per_hour": stored / size * WINDOWS_PER_HOUR / 1e6,
        **{f"{kind}_recall_{depth}": value for kind, both in found.items() for depth, value in both.items()},
        **loaded,
    }


def load_and_search(folder: Path) -> dict[str, float]:
    """In a process that has done nothing else: start, memory, time of a search."""
    before_mib = memory_mib(_own(), "VmRSS")
    started_s = time.perf_counter()
    index = WindowIndex(store=SegmentStore(folder / "index"))
    index.load()
    start_s = time.perf_counter() - started_s
    queries_ND = np.load(folder / "queries.npy")
    times_ms = []
    for n in range(SEARCHES + 5):
        rows_QD = np.roll(queries_ND, -n * QUERY_ROWS, axis=0)[:QUERY_ROWS]
        started_s = time.perf_counter()
        index.search(rows_QD, DEPTH)
        times_ms.append(1000 * (time.perf_counter() - started_s))
    return {
        "start_s": start_s,
        "memory_mib": memory_mib(_own(), "VmRSS") - before_mib,
        "search_median_ms": float(np.median(times_ms[5:])),
        "search_p95_ms": float(np.percentile(times_ms[5:], 95)),
        "num_segments": len(index.segments),
    }


def _own() -> int:
    return int(Path("/proc/self").resolve().name)


def blocks(size: int, real_ND: Emb) -> Iterator[Codes]:
    """`size` windows, the same ones each time they are asked for."""
    D = real_ND.shape[1]
    root_DD = np.linalg.cholesky(np.cov(real_ND.T) + 1e-9 * np.eye(D)).astype(np.float32)
    for start in range(0, size, BLOCK):
        rng = np.random.default_rng(start)
        emb_ND = real_ND[rng.integers(0, len(real_ND), min(BLOCK, size - start))]
        emb_ND += np.float32(SMOOTHING) * (rng.standard_normal(emb_ND.shape, np.float32) @ root_DD.T)
        yield quantised(emb_ND)


def _changes(size: int, real_ND: Emb, weights_sha256: str) -> Iterator[list[Change]]:
    ordinal = 0
    for codes_ND in blocks(size, real_ND):
        batch = []
        for start in range(0, len(codes_ND), GENERATION_WINDOWS):
            ordinal += 1
            part_ND = codes_ND[start : start + GENERATION_WINDOWS]
            all_N = np.ones(len(part_ND), np.bool_)
            batch.append(Change(size, ordinal, uuid.UUID(int=ordinal), 0, part_ND, all_N, weights_sha256))
        for first in range(0, len(batch), BATCH_ROWS):
            yield batch[first : first + BATCH_ROWS]


def _turned(emb_ND: Emb) -> Emb:
    """Each vector at a cosine of COPY_COSINE from what it was, in a direction of chance."""
    away_ND = np.random.default_rng(1).standard_normal(emb_ND.shape, np.float32)
    away_ND -= np.sum(away_ND * emb_ND, axis=1, keepdims=True) * emb_ND
    away_ND /= np.linalg.norm(away_ND, axis=1, keepdims=True)
    turned_ND: Emb = COPY_COSINE * emb_ND + np.float32(np.sqrt(1 - COPY_COSINE**2)) * away_ND
    return turned_ND


def _recall(index: WindowIndex, emb_QD: Emb, size: int, real_ND: Emb) -> dict[str, float]:
    """Which share of the truly nearest one, and of the 20 nearest, is among the 20 that the index gives."""
    scores_QK = np.full((len(emb_QD), DEPTH), -np.inf, np.float32)
    rows_QK = np.full((len(emb_QD), DEPTH), -1, np.int64)
    start = 0
    for codes_ND in blocks(size, real_ND):
        every_QN = np.concatenate([scores_QK, emb_QD @ unit(codes_ND).T], axis=1)
        numbers_QN = np.concatenate(
            [rows_QK, np.broadcast_to(start + np.arange(len(codes_ND)), (len(emb_QD), len(codes_ND)))], axis=1
        )
        top_QK = np.argpartition(-every_QN, DEPTH, axis=1)[:, :DEPTH]
        scores_QK = np.take_along_axis(every_QN, top_QK, 1)
        rows_QK = np.take_along_axis(numbers_QN, top_QK, 1)
        start += len(codes_ND)
    hits = index.search(emb_QD, DEPTH)
    given_QK = (hits.ordinals_QK - 1) * GENERATION_WINDOWS + hits.windows_QK
    nearest_Q1 = np.take_along_axis(rows_QK, scores_QK.argmax(axis=1)[:, None], 1)
    same_20 = [len(set(given) & set(true)) / DEPTH for given, true in zip(given_QK, rows_QK, strict=True)]
    return {"1": float((given_QK == nearest_Q1).any(axis=1).mean()), "20": float(np.mean(same_20))}


def _embedded(fingerprinter: Fingerprinter, clips: list[corpus.Clip], wanted: int) -> tuple[Emb, int]:
    """Informative windows of clips from all over the list."""
    found: list[Codes] = []
    for n in np.random.default_rng(0).permutation(len(clips)):
        windows = fingerprinter.run(corpus.read(clips[n].path))
        found.append(windows.codes_ND[windows.informative_N])
        if sum(map(len, found)) >= wanted:
            break
    emb_ND = unit(np.concatenate(found))
    return emb_ND, len(emb_ND)


def ingest(clips: list[corpus.Clip], hours: float) -> dict[str, float]:
    """(2)."""
    wavs: list[NDArray[np.float32]] = []
    for clip in clips:
        if sum(map(len, wavs)) >= hours * 3600 * SAMPLE_RATE_HZ:
            break
        wavs.append(corpus.read(clip.path))
    length_s = sum(map(len, wavs)) / SAMPLE_RATE_HZ
    with tempfile.TemporaryDirectory(prefix="earmark-index-") as name:
        Path(name).chmod(0o711)  # the database's own account passes through
        with Registry.open(Path(name) / "data") as registry:
            started_s = time.perf_counter()
            for wav_T in wavs:
                registry.register(wav_T, SAMPLE_RATE_HZ)
            registry.index.catch_up()
            ingest_s = time.perf_counter() - started_s
            started_s = time.perf_counter()
            registry.index.rebuild()
            rebuild_s = time.perf_counter() - started_s
            num_windows = registry.index.status().num_windows
            passed = registry.index.check().passed
    return {
        "speech registered, h": length_s / 3600,
        "registered, embedding and index included, x real time": length_s / ingest_s,
        "rebuilt from the table, windows/s": num_windows / rebuild_s,
        "index check passed": float(passed),
    }


if __name__ == "__main__":
    main()
