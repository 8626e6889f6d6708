"""What attackers without the key can do to the mark: mark again, subtract what files share, ask the detector.

    python -m benchmarks.mark_attackers --data CORPUS [--speakers 20] [--climbs 6]

Each has our code and any number of marked files, never the key; each works on 10 s of a test speaker.
(1) *Marks again* with a key of his own, once and three times. (2) *Subtracts*: turns what marked files of
other speakers show to where they fit each other, and takes their mean, which is the pilot, and the directions
in which they differ most, which are the bits of the codewords. He finds the place in the file at hand by
correlation with the mean, moves every tile against the mean's sign by as much as the embedder would, and in
the second variant against the mean and what the file shows in those directions. Beside it the same with signs
of nothing. (3) *Climbs*: asks only whether 5 s are
found, begins with white noise, and walks along that boundary towards the marked original; what he pays is
what is left of the signal-to-noise ratio. Each step asks about random changes of all tiles and moves by those
that lost the mark (HopSkipJump, Chen et al., 2020, with changes of tiles in place of samples). The detector
he asks has no budget; ours answers 20 variants of one recording an hour, 300 to whoever has a key
(api/access/budget.py). The last answer is the full detector's.
Prints tables and writes benchmarks/results/mark_attackers.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from audio import SAMPLE_RATE_HZ, corpus
from benchmarks import averaging
from benchmarks.report import Proportion, corpus_root, table, write
from watermark import ID_BITS, Detector, Embedder, Key, Outcome
from watermark.keyed import features, geometry
from watermark.keyed.depth import Depth
from watermark.keyed.geometry import HOP_SAMPLES, NUM_BANDS, PERIOD_TILES, TILE_FRAMES, WINDOW_SAMPLES
from watermark.keyed.search import NUM_OFFSETS, PilotSearch, fold, threshold
from watermark.train.public.report import si_snr_db

Floats = npt.NDArray[np.float32]
Found = Callable[[Floats], bool]

KEY = averaging.KEY
CONTENT_ID = 0x00C0FFEE0042
NUM_FILES = (20, 100, 1000)
_NUM_HOSTS = 200  # each is marked as often as is needed, every time with another payload
_NUM_DIRECTIONS = 256
QUESTIONS = (20, 300, 1000, 3000)
_WINDOW = np.sqrt(np.hanning(WINDOW_SAMPLES + 1)[:-1]).astype(np.float32)
_PROBES = 50  # in one step of a climb
_HALVINGS = 8  # questions to find the boundary between a lost and a found variant


def regained(wav_T: Floats, log_gain_FK: Floats) -> Floats:
    """Change the level of each frame's bands by nepers [F, 50]; frame f begins at sample 120 f."""
    frames = np.lib.stride_tricks.sliding_window_view(wav_T, WINDOW_SAMPLES)[::HOP_SAMPLES]
    frames = frames[: len(log_gain_FK)]
    spectrum = np.fft.rfft(frames * _WINDOW, axis=1)
    change = np.repeat(np.expm1(log_gain_FK[: len(frames)]), geometry.BINS_PER_BAND, axis=1)
    spectrum[:, geometry.FIRST_BIN : geometry.LAST_BIN] *= change
    spectrum[:, : geometry.FIRST_BIN] = 0
    spectrum[:, geometry.LAST_BIN :] = 0
    added = np.fft.irfft(spectrum, axis=1).astype(np.float32) * (_WINDOW / 2)
    out_T = wav_T.copy()
    for f, frame in enumerate(added):
        out_T[f * HOP_SAMPLES : f * HOP_SAMPLES + WINDOW_SAMPLES] += frame
    return out_T


def depths(wav_T: Floats) -> Floats:
    """How deep the embedder would go in each frame and band [F, 50]."""
    return Depth().of(features.band_power(wav_T))


@dataclass(frozen=True)
class Learned:
    """What marked files taught: their mean [128, 50], and the directions in which they differ [D, 6400]."""

    mean_MK: Floats
    directions: Floats

    @classmethod
    def of(cls, planes: Floats) -> Self:
        """From what each of N files shows [N, 128, 50], turned to fit and brought to one energy."""
        mean_MK = planes.mean(axis=0)
        differences = (planes - mean_MK).reshape(len(planes), -1)
        _, _, directions = np.linalg.svd(differences, full_matrices=False)
        return cls(mean_MK, directions[:_NUM_DIRECTIONS])

    def shown_by(self, plane_MK: Floats) -> Floats:
        """What a file shows of the codeword, as far as the directions tell."""
        rest = (_one_energy(plane_MK) - self.mean_MK).ravel()
        return np.asarray((self.directions @ rest) @ self.directions, np.float32).reshape(PERIOD_TILES, -1)


def planes(num_files: int, root: Path) -> Floats:
    """What marked files of training speakers show, turned to where they fit each other [N, 128, 50]."""
    rng = np.random.default_rng(2)
    wavs, shown = averaging.hosts(root, _NUM_HOSTS), []
    for number in range(num_files):
        content_id = int(rng.integers(1 << ID_BITS))
        row = geometry.first_row(KEY, content_id)
        shown.append(_one_energy(averaging.shown(wavs[number % len(wavs)], content_id, row)))
    return averaging.turned(np.stack(shown))


def subtracted(wav_T: Floats, mean_MK: Floats, learned: Learned | None = None) -> Floats:
    """The file with its tiles moved against the mean, where that fits best of all offsets; where `learned`
    is given, also against what the file shows in its directions."""
    seen = features.tile_features(wav_T)
    fits = []
    for phase in range(TILE_FRAMES):
        spectrum = np.conj(np.fft.rfft(fold(seen, phase), axis=0)) * np.fft.rfft(mean_MK, axis=0)
        fits.append(np.fft.irfft(spectrum.sum(axis=1), PERIOD_TILES))
    phase, row = divmod(int(np.argmax(fits)), PERIOD_TILES)
    carrier_MK = mean_MK / mean_MK.std()
    if learned is not None:
        codeword_MK = learned.shown_by(np.roll(fold(seen, phase), row, axis=0))
        carrier_MK = carrier_MK + codeword_MK / codeword_MK.std()
    depth_FK = depths(wav_T)
    rows_F = ((np.arange(len(depth_FK)) - phase) // TILE_FRAMES + row) % PERIOD_TILES
    return regained(wav_T, -depth_FK * np.clip(carrier_MK[rows_F], -1, 1))


def _one_energy(plane_MK: Floats) -> Floats:
    return np.asarray(plane_MK / plane_MK.std(), np.float32)


class Climb:
    """A walk along the boundary of what is found, for one file; `asked` counts its questions."""

    def __init__(self, wav_T: Floats, found: Found, seed: int) -> None:
        self._wav_T, self._found = wav_T, found
        self._depth_FK = depths(wav_T)
        self._rng = np.random.default_rng(seed)
        self.asked = 0
        noise_T = self._rng.standard_normal(len(wav_T)).astype(np.float32)
        self._change_T: Floats = self._to_boundary(noise_T * np.float32(wav_T.std()))

    @property
    def best(self) -> Floats:
        """The nearest variant so far that is not found."""
        return self._wav_T + self._change_T

    def step(self) -> None:
        """Ask about changes around the boundary, move by what they tell, go back to the boundary."""
        probes = np.stack([self._random() for _ in range(_PROBES)])
        size = float(np.linalg.norm(self._change_T))
        small = 0.3 * size / float(np.linalg.norm(probes[0]))
        lost = np.array([not self._is_found(self._change_T + small * probe) for probe in probes], np.float32)
        direction_T: Floats = (lost - lost.mean()) @ probes
        norm = float(np.linalg.norm(direction_T))
        if not norm:  # all answers were the same
            return
        for reach in (1.0, 0.5, 0.25, 0.1):
            moved_T = np.asarray(self._change_T + reach * size / norm * direction_T, np.float32)
            if not self._is_found(moved_T):
                moved_T = self._to_boundary(moved_T)
                if np.linalg.norm(moved_T) < size:
                    self._change_T = moved_T
                    return

    def _random(self) -> Floats:
        """What a random change of whole tiles adds, each as deep as a mark's."""
        F = len(self._depth_FK)
        signs = self._rng.choice(np.array([-1, 1], np.float32), (F // TILE_FRAMES + 1, NUM_BANDS))
        gains_FK = np.repeat(signs, TILE_FRAMES, axis=0)[:F] * self._depth_FK
        return regained(self._wav_T, gains_FK) - self._wav_T

    def _to_boundary(self, change_T: Floats) -> Floats:
        """The shortest part of a change that is still not found."""
        high = 1.0
        while self._is_found(np.float32(high) * change_T):
            high *= 2
        low = 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._is_found(np.float32(middle) * change_T) else (low, middle)
        return np.asarray(np.float32(high) * change_T, np.float32)

    def _is_found(self, change_T: Floats) -> bool:
        self.asked += 1
        return self._found(self._wav_T + change_T)


def climbed(wav_T: Floats, found: Found, counts: Sequence[int], seed: int) -> list[Floats]:
    """The nearest variant that is not found after so many questions each."""
    climb, best = Climb(wav_T, found, seed), []
    for count in counts:
        while climb.asked + _PROBES + _HALVINGS + 6 <= count:
            climb.step()
        best.append(climb.best)
    return best


def plainly_found(search: PilotSearch, wav_T: Floats) -> bool:
    """Whether a recording of 5 s is found where no other speeds are tried: a tenth of the time."""
    seen = features.tile_features(wav_T)
    return search.best(seen, 0, len(seen)).z >= threshold(1e-3, NUM_OFFSETS)


def hosts(root: Path, num_speakers: int) -> list[Floats]:
    """Ten seconds of one recording of as many test speakers."""
    seen: set[tuple[str, str]] = set()
    wavs: list[Floats] = []
    for clip in corpus.split(corpus.load(root)).test:
        if (
            (clip.seconds or 0) >= 10.2
            and (clip.source, clip.speaker) not in seen
            and len(wavs) < num_speakers
        ):
            seen.add((clip.source, clip.speaker))
            wavs.append(corpus.read(clip.path)[: 10 * SAMPLE_RATE_HZ])
    return wavs


def attacked(
    name: str, attack: Callable[[Floats], Floats], marked: Sequence[Floats], detector: Detector
) -> list[str]:
    """One row: found and read, and how far the attacked files are from the marked ones."""
    variants = [attack(wav_T) for wav_T in marked]
    answers = [detector.detect(wav_T, SAMPLE_RATE_HZ) for wav_T in variants]
    found = sum(answer.outcome is Outcome.FOUND for answer in answers)
    read = sum(answer.payload == CONTENT_ID for answer in answers)
    snr = np.median([si_snr_db(b, a) for a, b in zip(marked, variants, strict=True)])
    n = len(marked)
    return [name, str(Proportion(found, n)), str(Proportion(read, n)), f"{snr:.1f}"]


def main() -> None:
    """Attack, detect, print, write."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description="Attack the mark without its key.")
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--speakers", type=int, default=20)
    parser.add_argument("--climbs", type=int, default=6)
    arguments = parser.parse_args()
    root = corpus_root(arguments.data)
    detector = Detector(KEY)
    marked = [
        Embedder(KEY).mark(wav_T, SAMPLE_RATE_HZ, payload=CONTENT_ID)
        for wav_T in hosts(root, arguments.speakers)
    ]
    noise_MK = np.random.default_rng(3).standard_normal((PERIOD_TILES, NUM_BANDS)).astype(np.float32)

    def again(times: int, wav_T: Floats) -> Floats:
        for number in range(times):
            wav_T = Embedder(Key(bytes([200 + number]) * 16)).mark(wav_T, SAMPLE_RATE_HZ, payload=7)
        return wav_T

    rows = [attacked("nothing", lambda wav_T: wav_T, marked, detector)]
    rows += [attacked(f"marked again, {n}x", partial(again, n), marked, detector) for n in (1, 3)]
    rows.append(
        attacked("subtracted, signs of nothing", partial(subtracted, mean_MK=noise_MK), marked, detector)
    )
    shown = planes(max(NUM_FILES), root)
    for num in NUM_FILES:
        learned = Learned.of(shown[:num])
        mean = partial(subtracted, mean_MK=learned.mean_MK)
        rows.append(attacked(f"subtracted, mean of {num} files", mean, marked, detector))
        both = partial(mean, learned=learned)
        rows.append(attacked(f"subtracted, mean and directions of {num}", both, marked, detector))
    print(table(["attack", "found, 10 s", "payload", "SI-SNR to the marked file, dB"], rows), flush=True)
    climbs = [
        _climb_row(wav_T[: 5 * SAMPLE_RATE_HZ], seed, detector)
        for seed, wav_T in enumerate(marked[: arguments.climbs])
    ]
    header = ["questions", *(str(count) for count in QUESTIONS)]
    cells = [
        [
            "SI-SNR of the nearest that is lost, dB",
            *(f"{snr:.1f}" for snr in np.median([c[0] for c in climbs], axis=0)),
        ],
        ["still found by the full detector", *(str(n) for n in np.sum([c[1] for c in climbs], axis=0))],
    ]
    print("\n" + table(header, cells), flush=True)
    print("\nwritten:", write("mark_attackers", {"attacks": rows, "climbs": [c[0] for c in climbs]}))


def _climb_row(marked_T: Floats, seed: int, detector: Detector) -> tuple[list[float], list[bool]]:
    search = PilotSearch(averaging.LAYOUT)
    best = climbed(marked_T, partial(plainly_found, search), QUESTIONS, seed)
    found = [detector.detect(wav_T, SAMPLE_RATE_HZ).outcome is Outcome.FOUND for wav_T in best]
    return [si_snr_db(wav_T, marked_T) for wav_T in best], found


if __name__ == "__main__":
    main()
