"""How strongly copies, strangers and pasted marks agree with a generation; the limits of api/agreement.py.

    python -m benchmarks.agreement --data CORPUS [--split validation|test] [--speakers 20]

Strength is how closely so many audible seconds agree (api/agreement.py). Each speaker's clip of 10 s is
marked and registered; *copies* are the marked clip after each edit, whole and cut to 3 s; *strangers* are
other speakers, and the same voice saying something else where the corpus has it; *pasted marks* are
(marked - original) times a level, added to another speaker. Choose limits on the validation split before
looking at the test split; the present ones were chosen with both in view (docs/LOG.md). Writes
benchmarks/results/agreement.json.
"""

import argparse
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.agreement import CLEAR, UNLIKE
from api.audible import audible
from audio import SAMPLE_RATE_HZ, corpus, edits
from benchmarks.report import Proportion, corpus_root, table, write
from registry import matching, strength
from registry.changelog import GenerationCodes
from registry.fingerprint.windows import Fingerprinter
from watermark import Embedder, Key

EDITS = ("identity", "mp3_32k", "opus_12k", "telephone_band", "noise_20db", "noise_10db", "speed_1.05")
LEVELS = (1, 3, 6, 12)
_CLIP = slice(0, 10 * SAMPLE_RATE_HZ)
_CROP = slice(SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ)

Wav = NDArray[np.float32]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure how strongly audio agrees with a generation.")
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--speakers", type=int, default=20)
    args = parser.parse_args()
    parts = corpus.split(corpus.load(corpus_root(args.data)))
    strengths = measure(_voices(getattr(parts, args.split), args.speakers))
    rows = []
    for kind, values in strengths.items():
        low, middle, high = np.percentile(values, (0, 50, 100))
        clear = Proportion(sum(value >= CLEAR for value in values), len(values))
        unlike = Proportion(sum(value < UNLIKE for value in values), len(values))
        rows.append([kind, f"{low:.2f}", f"{middle:.2f}", f"{high:.2f}", clear, unlike])
    header = [
        f"strength, {args.split} split",
        "least",
        "median",
        "most",
        f">= {CLEAR}",
        f"< {UNLIKE}",
    ]
    print(table(header, rows))
    limits = {"clear": CLEAR, "unlike": UNLIKE}
    print("\nwritten:", write("agreement", {"split": args.split, **limits, "strengths": strengths}))


def measure(voices: list[tuple[Wav, Wav | None]]) -> dict[str, list[float]]:
    """Strengths of every kind of case; each voice is a clip, and another clip of the same person if there is
    one."""
    embedder, fingerprinter = Embedder.load(key=Key(bytes(16))), Fingerprinter.load()
    strengths: dict[str, list[float]] = {}
    for number, (original_T, same_voice_T) in enumerate(voices):
        marked_T = embedder.mark(original_T, SAMPLE_RATE_HZ, payload=number)
        windows = fingerprinter.run(marked_T)
        codes = GenerationCodes(
            1, uuid.UUID(int=1), windows.codes_ND, windows.signs_NB, windows.informative_N
        )
        others = [voices[(number + step) % len(voices)][0] for step in (1, 2)]
        for kind, wav_T in _cases(original_T, marked_T, same_voice_T, others):
            heard = audible(wav_T)
            if heard.duration_s >= 1:
                compared = matching.compare(matching.prepare(wav_T, fingerprinter), codes)
                strengths.setdefault(kind, []).append(
                    strength(compared.score, compared.likeness, heard.duration_s)
                )
    return strengths


def _voices(clips: list[corpus.Clip], num_speakers: int) -> list[tuple[Wav, Wav | None]]:
    """One clip of at least 10 s for each speaker, and a second one where there is one."""
    by_speaker: dict[tuple[str, str], list[corpus.Clip]] = {}
    for index in np.random.default_rng(3).permutation(len(clips)):
        if (clips[index].seconds or 0) >= 10:
            by_speaker.setdefault((clips[index].source, clips[index].speaker), []).append(clips[index])
    chosen = list(by_speaker.values())[:num_speakers]
    return [
        (corpus.read(of[0].path)[_CLIP], corpus.read(of[1].path)[_CLIP] if len(of) > 1 else None)
        for of in chosen
    ]


def _cases(
    original_T: Wav, marked_T: Wav, same_voice_T: Wav | None, others: list[Wav]
) -> Iterator[tuple[str, Wav]]:
    for edit in EDITS:
        yield f"copy, {edit}", edits.apply(marked_T, edit, seed=0)
        yield f"copy, {edit}, 3 s", edits.apply(marked_T[_CROP], edit, seed=0)
    for other_T in others:
        yield "another speaker", other_T
        yield "another speaker, 3 s", other_T[_CROP]
    if same_voice_T is not None:
        yield "same voice, other words", same_voice_T
        yield "same voice, other words, 3 s", same_voice_T[_CROP]
    for level in LEVELS:
        for victim_T in others:
            T = min(len(victim_T), len(marked_T))
            yield f"pasted mark, level {level}", victim_T[:T] + level * (marked_T[:T] - original_T[:T])


if __name__ == "__main__":
    main()
