"""Our keyed mark beside Perth, the peer that installs with its weights: same clips, same edits, one run.

    pip install resemble-perth librosa
    python -m benchmarks.peers --data CORPUS [--speakers 60]

Ten seconds of each test speaker, marked by either; a random 5 s of each edited clip is asked about. Both are
judged at a false-positive rate of 1 %: Perth, which gives one number without a scale, at what 99 % of the
unmarked, edited pieces of the same speakers stay at or below (so it is given the best threshold that these
allow); ours at p <= 0.01 as it stands. How many unmarked pieces each then calls marked is printed too.
Perth's 50 bits are the same for everyone; what is compared is presence alone.

Perth (Resemble AI, MIT) reads its weights with torch.load, which since torch 2.6 executes no pickle. It asks
for torchaudio, of which it uses two transforms; where there is none, these stand in (`_torchaudio`).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audio import SAMPLE_RATE_HZ, edits
from benchmarks.marked_clips import KEY, Marked, clips, mark_all
from benchmarks.report import Proportion, corpus_root, table, write
from benchmarks.visqol import Visqol
from benchmarks.watermark import WINDOW_SAMPLES, quality
from watermark import Detector

Floats = npt.NDArray[np.float32]
Score = Callable[[Floats], float]

EDITS = [
    "identity",
    "mp3_64k",
    "mp3_16k",
    "aac_32k",
    "opus_24k",
    "opus_12k",
    "opus_6k",
    "g711_mulaw",
    "telephone_band",
    "amr_nb_12.2k",
    "amr_nb_4.75k",
    "noise_20db",
    "noise_10db",
    "reverb_0.5s_0db",
    "compress_-18db",
    "crop_50",
    "packet_loss_10_zero",
    "speed_1.05",
    "stretch_0.9",
    "stretch_1.1",
    "pitch_+1",
    "pitch_-2",
]
FALSE_POSITIVES = 0.01


class Perth:
    """Raises ModuleNotFoundError where it is not installed."""

    def __init__(self) -> None:
        _torchaudio()
        package = importlib.import_module("perth.perth_net.perth_net_implicit.perth_watermarker")
        self._perth: Any = package.PerthImplicitWatermarker()

    def mark(self, wav_T: Floats) -> Floats:
        """As long as what was given."""
        marked_T: Floats = self._perth.apply_watermark(wav_T, sample_rate=SAMPLE_RATE_HZ)
        return np.pad(marked_T, (0, max(0, len(wav_T) - len(marked_T))))[: len(wav_T)]

    def score(self, wav_T: Floats) -> float:
        """From 0 to 1."""
        return float(np.mean(self._perth.get_watermark(wav_T, SAMPLE_RATE_HZ, round=False)))


def compare(hosts: list[Floats], by: dict[str, list[Marked]], scores: dict[str, Score]) -> dict[str, Any]:
    """Print the table; a higher score speaks for a mark."""
    unmarked = {name: [score(p) for p in _unmarked(hosts)] for name, score in scores.items()}
    limits = {
        "ours": -math.log10(FALSE_POSITIVES),
        "Perth": float(np.quantile(unmarked["Perth"], 1 - FALSE_POSITIVES, method="higher")),
    }
    false = {
        name: Proportion(sum(_found(one, limits[name], name) for one in unmarked[name]), len(unmarked[name]))
        for name in scores
    }
    rows: list[list[Any]] = [["unmarked", *(false[name] for name in scores)]]
    result: dict[str, Any] = {"limits": limits, "unmarked": {n: one.as_json() for n, one in false.items()}}
    for edit in EDITS:
        of_edit = {}
        for name, score in scores.items():
            pieces = (_piece(clip.marked_T, edit, seed) for seed, clip in enumerate(by[name]))
            hits = sum(_found(score(piece), limits[name], name) for piece in pieces)
            of_edit[name] = Proportion(hits, len(by[name]))
        rows.append([edit, *of_edit.values()])
        print(*rows[-1], file=sys.stderr, flush=True)
        result[edit] = {name: one.as_json() for name, one in of_edit.items()}
    print("\n" + table(["edit", *(f"{name}, 5 s" for name in scores)], rows), flush=True)
    return result


def _unmarked(hosts: list[Floats]) -> list[Floats]:
    """Pieces of what was never marked, each clip through a quarter of the edits."""
    return [_piece(host, edit, seed) for seed, host in enumerate(hosts) for edit in EDITS[seed % 4 :: 4]]


def _piece(wav_T: Floats, edit: str, seed: int) -> Floats:
    edited_T = edits.apply(wav_T, edit, seed=seed)
    start = int(np.random.default_rng(seed).integers(max(0, len(edited_T) - WINDOW_SAMPLES) + 1))
    return edited_T[start : start + WINDOW_SAMPLES]


def _found(score: float, limit: float, name: str) -> bool:
    return score >= limit if name == "ours" else score > limit


def _torchaudio() -> None:
    """Stand-ins for the transforms that Perth asks for, where torchaudio is not installed."""
    if importlib.util.find_spec("torchaudio") is not None:
        return
    package, transforms = ModuleType("torchaudio"), ModuleType("torchaudio.transforms")
    transforms.__dict__.update(
        Spectrogram=_Spectrogram, InverseSpectrogram=_InverseSpectrogram, TimeStretch=_TimeStretch
    )
    sys.modules |= {"torchaudio": package, "torchaudio.transforms": transforms}


class _Stft(nn.Module):
    def __init__(
        self, n_fft: int, win_length: int, hop_length: int, window_fn: Callable[[int], Tensor], **_: object
    ) -> None:
        super().__init__()
        self._sizes = n_fft, hop_length, win_length
        self.register_buffer("window", window_fn(win_length))


class _Spectrogram(_Stft):
    def forward(self, wav_T: Tensor) -> Tensor:
        return torch.stft(wav_T, *self._sizes, self.get_buffer("window"), return_complex=True)


class _InverseSpectrogram(_Stft):
    def forward(self, spectrum_KF: Tensor) -> Tensor:
        return torch.istft(spectrum_KF, *self._sizes, self.get_buffer("window"))


class _TimeStretch(nn.Module):
    """Made, and never used."""

    def __init__(self, n_freq: int, hop_length: int) -> None:
        super().__init__()
        self.register_buffer("phase_advance", torch.linspace(0, math.pi * hop_length, n_freq)[:, None])


def main() -> None:
    """Print the tables and write benchmarks/results/peers.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--visqol-speakers", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    perth, detector, judge = Perth(), Detector.load(key=KEY), Visqol()
    hosts = list(clips(corpus_root(args.data), args.speakers))
    by = {"ours": mark_all(hosts), "Perth": [Marked(host, perth.mark(host), 0) for host in hosts]}
    result: dict[str, Any] = {}
    for name, marked in by.items():
        print(f"\n{name}", flush=True)
        judged = [judge.score(one.host_T, one.marked_T) for one in marked[: args.visqol_speakers]]
        result[name] = quality(marked) | {"ViSQOL": float(np.mean(judged))}
        print(f"\nViSQOL {np.mean(judged):.3f}, {len(judged)} clips", flush=True)

    def ours(wav_T: Floats) -> float:
        return -math.log10(detector.detect(wav_T, SAMPLE_RATE_HZ).false_alarm_probability + 1e-30)

    result["found"] = compare(hosts, by, {"ours": ours, "Perth": perth.score})
    print("\nwritten:", write("peers", result))


if __name__ == "__main__":
    main()
