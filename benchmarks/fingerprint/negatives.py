"""(2) False matches: the share of queries that hold nothing registered and are accepted all the same.

    speaker not registered        test speakers against a registry without them
    speaker registered, clip not  the same against the whole corpus, the query's own clip hidden
    synthetic, voice not there    sentences of test voices of espeak-ng and flite against the same registry
    synthetic, said again         all renditions registered but the query's own: same voice and words
    our voice, other words        what `mini` says, against the whole corpus and all other that it said
    our voice, same words         the same, where it said the query's sentence once more with another seed

Speech in turn untouched, noise 10 dB, telephone band, MP3 32k, reverb. One source has every speaker say the
same isolated words in the same order, once a second: near-duplicates, reported apart.
"""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from audio import SAMPLE_RATE_HZ, corpus, edits
from benchmarks import report
from benchmarks.fingerprint.copies import LENGTHS_S, Wav
from benchmarks.fingerprint.registered import Registered
from benchmarks.report import Proportion
from generation import MINI_VOICE, Speaker
from registry.fingerprint.train import calibrate, respoken
from registry.fingerprint.train.gallery import Gallery, Pieces
from registry.matching import ACCEPT_BELOW
from registry.null import Null

P_LEVELS = (0.1, 0.01, ACCEPT_BELOW, 1e-4, 1e-6)
DAMAGE = ("identity", "noise_10db", "telephone_band", "mp3_32k", "reverb_0.5s_0db")
OTHER_WORDS = ("speaker not registered", "speaker registered, clip not")
SAME_WORDS = ("same words, same times, another voice", "same words, same times, same voice")
OURS = ("our own voice, other words", "our own voice, same words again")
SYNTHETIC = ("synthetic, voice not registered", "synthetic, said again by the same voice")
_MAX_SAMPLES = 60 * SAMPLE_RATE_HZ
Case = tuple[str, Gallery, tuple[int, ...]]


def measure(
    data: Path,
    clips: list[corpus.Clip],
    registered: Registered,
    null: Null,
    pool: Executor,
    num_sentences: int,
) -> dict[str, Any]:
    """Print the table of false matches and return it."""
    p_values: dict[tuple[str, float], list[float]] = defaultdict(list)
    accepted: dict[tuple[str, float], list[bool]] = defaultdict(list)
    pitched: dict[str, list[bool]] = defaultdict(list)
    queries = chain(
        _human(clips, registered, pool),
        _synthetic(data, registered, num_sentences),
        _ours(data, registered, num_sentences),
    )
    for wav_T, cases in queries:
        if len(wav_T) < SAMPLE_RATE_HZ:
            continue
        pieces = Pieces(wav_T[:_MAX_SAMPLES], registered.full.fingerprinter)
        for seconds in LENGTHS_S:
            for start in pieces.starts(seconds, max(1.0, seconds / 2.0)):
                prepared = pieces.prepared(start, seconds, null)
                for who, gallery, hidden in cases:
                    found = gallery.match(prepared, hidden)
                    p_values[who, seconds].append(found.false_alarm_probability)
                    accepted[who, seconds].append(bool(found.matches))
                    pitched[who].append(any(match.pitch != 1.0 for match in found.matches))
    out = _table(p_values, accepted)
    for who, at_another in pitched.items():
        share = Proportion(sum(at_another), len(at_another))
        print(f"{who}: accepted at another pitch {share}")
        out[f"{who}, at another pitch"] = share.as_json()
    return out


def _human(
    clips: list[corpus.Clip], registered: Registered, pool: Executor
) -> Iterator[tuple[Wav, list[Case]]]:
    jobs = [(clip.path, DAMAGE[number % len(DAMAGE)], number) for number, clip in enumerate(clips)]
    heard = pool.map(_read_altered, *zip(*jobs, strict=True), chunksize=4)
    for number, (clip, wav_T) in enumerate(zip(clips, heard, strict=True)):
        who_else, who_same = SAME_WORDS if clip.source in calibrate.REPEATED_WORDS else OTHER_WORDS
        cases: list[Case] = [(who_else, registered.strangers, ())]
        if number % 3 == 0:  # a third, for time
            cases.append((who_same, registered.full, (registered.numbers[clip.path],)))
        yield wav_T, cases


def _synthetic(data: Path, registered: Registered, num_sentences: int) -> Iterator[tuple[Wav, list[Case]]]:
    spoken = list(respoken.speak(data, "test", num_sentences))
    again = _as_full(registered)
    numbers = [again.add(one.wav_T) for one in spoken]
    for number, one in enumerate(spoken):
        wav_T = edits.apply(one.wav_T, DAMAGE[number % len(DAMAGE)], seed=number)
        yield wav_T, [(SYNTHETIC[0], registered.full, ()), (SYNTHETIC[1], again, (numbers[number],))]


def _ours(data: Path, registered: Registered, num_sentences: int) -> Iterator[tuple[Wav, list[Case]]]:
    """Outputs of our own model that were never registered, where all its others were."""
    speaker = Speaker.load(MINI_VOICE)
    sentences = respoken.sentences(data, "test", num_sentences)
    spoken = [[_say(speaker, text, seed) for seed in (2 * n, 2 * n + 1)] for n, text in enumerate(sentences)]
    gallery = _as_full(registered)
    numbers = [[gallery.add(wav_T) for wav_T in pair] for pair in spoken]
    for number, (pair, registered_as) in enumerate(zip(spoken, numbers, strict=True)):
        wav_T = edits.apply(pair[0], DAMAGE[number % len(DAMAGE)], seed=number)
        yield wav_T, [(OURS[0], gallery, tuple(registered_as)), (OURS[1], gallery, (registered_as[0],))]


def _say(speaker: Speaker, text: str, seed: int) -> Wav:
    return np.concatenate(list(speaker.say(speaker.read(text), seed=seed)))


def _as_full(registered: Registered) -> Gallery:
    """A gallery of its own with all of the full one."""
    gallery = Gallery(registered.full.fingerprinter)
    for codes in registered.full.codes.values():
        gallery.add_codes(codes)
    return gallery


def _table(
    p_values: dict[tuple[str, float], list[float]], accepted: dict[tuple[str, float], list[bool]]
) -> dict[str, Any]:
    rows, out = [], {}
    for who in dict.fromkeys(who for who, _ in p_values):
        lengths = sorted(seconds for name, seconds in p_values if name == who)
        for label, part in [*((f"{s:g} s", [s]) for s in lengths), ("all", lengths)]:
            values = np.concatenate([p_values[who, seconds] for seconds in part])
            shares = [Proportion(int(np.sum(values <= p)), len(values)) for p in P_LEVELS]
            taken = Proportion(sum(sum(accepted[who, seconds]) for seconds in part), len(values))
            rows.append([who, label, *(f"{s.hits}/{s.trials}" for s in shares), taken])
            out[f"{who}, {label}"] = {
                f"{p:g}": share.as_json() for p, share in zip(P_LEVELS, shares, strict=True)
            } | {"accepted": taken.as_json()}
    header = ["query", "length", *(f"p <= {p:g}" for p in P_LEVELS), "accepted"]
    print("\n" + report.table(header, rows), flush=True)
    return out


def _read_altered(path: Path, name: str, seed: int) -> Wav:
    return edits.apply(corpus.read(path)[:_MAX_SAMPLES], name, seed=seed)
