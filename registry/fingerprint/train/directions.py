"""The directions of the sub-fingerprints: what damage leaves alone, and what is not said twice.

    (1) pairs of a patch and its damaged copy (sampler.py, augment.py) -> 192 pairs of directions u, v whose
        sides correlate most: (Sxx^-1/2 Sxy Syy^-1/2) = U R V^T
    (2) agreement x_k of each direction over utterances of 3 s with their damaged copies, and with the best
        place in another reading of the same sentence, or in other sentences, by the same voice
    (3) w = (Cov of both)^-1 (mean of copies - mean of others); the directions that add least are left out,
        four at a time, until 64 are left

What correlates most is the coarse shape of sounds, and that is what a voice says again; (2) and (3) move the
weight to what it does not. All in closed form, no gradients; six minutes on two cores. Speakers of the
training part, and the voice with transcripts, which says 387 sentences twice.

Dimension key: B patches, D = bands times frames, K directions, Q half frames, P patches of an utterance.
Source: Hotelling 1936 (canonical correlations), Fisher 1936 (linear discriminant). Not covered: other
pitches and tempos; the query side undoes them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audio import corpus, edits
from audio.edits import Edit
from audio.errors import CorpusError
from audio.store import Wav
from registry.fingerprint import features, windows
from registry.fingerprint.subprints import (
    FIRST_FRAME,
    HOP_FRAMES,
    NUM_PATCHES,
    NUM_SIGNS,
    PATCH_FRAMES,
    PHASES,
    STEP_FRAMES,
    Directions,
)
from registry.fingerprint.train import respoken
from registry.fingerprint.train.augment import Augmenter, Chances
from registry.fingerprint.train.cache import FrameStore, Recoder, finished_copies
from registry.fingerprint.train.sampler import Sampler

NUM_CANDIDATES = 192
_BATCH = 512
_UTTERANCE = 3 * features.SAMPLE_RATE_HZ
_FLOOR = 1e-3  # of the largest eigenvalue
_RIDGE = 1.0  # times the mean variance
_DROPPED = 4
# As for the network, but for what the query's side undoes: tempo, pitch, shift of more than half a frame.
_CHANCES = replace(Chances(), p_tempo=0.0, p_pitch=0.0, p_speed=0.0, shift_frames=0.5, p_cut=0.0, p_noise=0.5)
_AMR = {"codec": "libopencore_amrnb", "rate_hz": 8_000, "bit_rate": 4_750}
DAMAGE: dict[str, str | Edit] = {
    "opus_8k": "opus_8k",
    "telephone_band": "telephone_band",
    "amr": Edit("amr", "telephone_codec", _AMR),
    "noise_10db": "noise_10db",
    "noise_0db": Edit("noise_0db", "white_noise", {"snr_db": 0.0}),
    "reverb_1s_0db": Edit("reverb_1s_0db", "simulated_reverb", {"rt60_s": 1.0, "drr_db": 0.0}),
    "pitch_+1": "pitch_+1",
}
Floats = NDArray[np.float64]
Report = Callable[[str], None]


class Agreements(NamedTuple):
    """Of each direction [.., K]: copies by kind of damage, and what is no copy."""

    copies: dict[str, Floats]
    others: Floats


def learn(
    data: Path, cache: Path, report: Report, codecs: Sequence[Recoder] = (), num_pairs: int = 60_000,
    num_utterances: int = 110,
) -> Directions:  # fmt: skip
    """Directions from a corpus and its cache of frames (train/cache.py). Raises CorpusError, also
    when no voice of the corpus has transcripts."""
    candidates = canonical(_patches(data, cache, num_pairs), NUM_CANDIDATES)
    report(f"directions: {num_pairs} pairs of patches")
    found = agreements(data, candidates, codecs, num_utterances)
    means = {name: round(float(of_kind.sum(axis=1).mean()), 1) for name, of_kind in found.copies.items()}
    report(f"directions: agreement of copies {means}, of others {found.others.sum(axis=1).mean():.1f}")
    return chosen(candidates, found, NUM_SIGNS)


def canonical(batches: Iterator[tuple[Floats, Floats]], num: int) -> Directions:
    """The `num` best pairs of directions of batches [B, D] of patches and their copies (1)."""
    sums, products, count = np.zeros(0), np.zeros(0), 0
    for clean_BD, copy_BD in batches:
        both_BE = np.concatenate([clean_BD, copy_BD], axis=1)
        sums = both_BE.sum(axis=0) + (sums if count else 0.0)
        products = both_BE.T @ both_BE + (products if count else 0.0)
        count += len(both_BE)
    mean_E = sums / count
    covariance = products / count - np.outer(mean_E, mean_E)
    D = len(mean_E) // 2
    roots = [_inverse_root(covariance[:D, :D]), _inverse_root(covariance[D:, D:])]
    left, _, right = np.linalg.svd(roots[0] @ covariance[:D, D:] @ roots[1])
    return _directions((roots[0] @ left[:, :num]).T, mean_E[:D], (roots[1] @ right[:num].T).T, mean_E[D:])


def agreements(
    data: Path, candidates: Directions, codecs: Sequence[Recoder], num_utterances: int
) -> Agreements:
    """How each direction agrees, over utterances (2)."""
    clips = corpus.split(corpus.load(data)).train
    rng = np.random.default_rng(9)
    said = defaultdict(list)
    for clip in clips:
        if clip.text:
            said[clip.text.lower().strip(". ")].append(clip)
    if not said:
        raise CorpusError("no voice of the corpus has transcripts: nothing is known to be said twice")
    copies: dict[str, list[Floats]] = defaultdict(list)
    with torch.inference_mode():
        for number, (wav_T, start) in enumerate(islice(_utterances(clips, rng), num_utterances)):
            signs_PK = _signs(candidates, wav_T)
            piece_T = wav_T[start : start + _UTTERANCE + features.SAMPLE_RATE_HZ]
            begins = start / features.FRAME_HOP_SAMPLES + np.arange(-4, 4.1, 1.0 / PHASES)
            damaged = {name: edits.apply(piece_T, edit, seed=number) for name, edit in DAMAGE.items()}
            damaged |= {f"codec {n}": codec(piece_T) for n, codec in enumerate(codecs)}
            for name, copy_T in damaged.items():
                copies[name].append(_agreement(signs_PK, candidates.values(copy_T[:_UTTERANCE])[0], begins))
        others = list(_said_again(candidates, list(said.values()), rng))
    return Agreements({name: np.stack(rows) for name, rows in copies.items()}, np.stack(others))


def chosen(candidates: Directions, found: Agreements, num: int) -> Directions:
    """The `num` directions that tell copies from others best, weighed (3)."""
    K = found.others.shape[1]
    spread = np.cov(found.others.T) + np.mean([np.cov(rows.T) for rows in found.copies.values()], axis=0)
    spread += _RIDGE * np.trace(spread) / K * np.eye(K)
    # By how little of it is left: what is hardest counts most.
    share = np.array([rows.sum(axis=1).mean() ** -2.0 for rows in found.copies.values()])
    mean = sum(
        s * rows.mean(axis=0) for s, rows in zip(share / share.sum(), found.copies.values(), strict=True)
    )
    apart = mean - found.others.mean(axis=0)
    kept = np.arange(K)
    while True:
        weight = np.linalg.solve(spread[np.ix_(kept, kept)], apart[kept])
        if len(kept) <= num:
            break
        best = np.argsort(-weight * apart[kept])[: max(num, len(kept) - _DROPPED)]
        kept = kept[np.sort(best)]
    weight /= np.abs(weight).mean()
    state = {name: tensor[kept].clone() for name, tensor in candidates.state_dict().items()}
    scale = torch.from_numpy(weight.astype(np.float32))
    state["heard"] *= scale[:, None, None]
    state["heard_mean"] *= scale
    directions = Directions(num)
    directions.load_state_dict(state)
    return directions


def _patches(data: Path, cache: Path, num_pairs: int) -> Iterator[tuple[Floats, Floats]]:
    """Patches of the middle of windows and of their damaged copies, as `canonical` takes them."""
    clips, noise = FrameStore(cache, "clips"), FrameStore(cache, "noise")
    train = {clip.path.name for clip in corpus.split(corpus.load(data)).train}
    train |= {one.file for one in clips.recordings if one.source == respoken.SOURCE}
    noises = [noise.frames(one, 0, noise.num_frames(one))[0] for one in noise.recordings]
    augmenter, sampler = Augmenter(noises, _CHANCES, "cpu"), Sampler(clips, finished_copies(cache), train)
    rng = np.random.default_rng(1)
    for _ in range(-(-num_pairs // _BATCH)):
        pairs = sampler.draw(min(num_pairs, _BATCH), rng)
        copies = augmenter.copies(pairs.span_BFM, pairs.missing_BF, rng)
        for first in range(FIRST_FRAME, FIRST_FRAME + HOP_FRAMES, STEP_FRAMES):
            sides = (augmenter.anchors(pairs.anchor_BFM), copies)
            yield tuple(  # type: ignore[misc]  # two of them
                one[:, 1, :, first : first + PATCH_FRAMES].flatten(1).double().numpy() for one in sides
            )


def _utterances(clips: list[corpus.Clip], rng: np.random.Generator) -> Iterator[tuple[Wav, int]]:
    """Recordings, and where in each to begin."""
    for index in rng.permutation(len(clips)):
        wav_T = corpus.read(clips[index].path)
        room = len(wav_T) - _UTTERANCE - features.SAMPLE_RATE_HZ
        if not clips[index].text and room > 0:
            yield wav_T, int(rng.integers(room))


def _said_again(
    candidates: Directions, sentences: list[list[corpus.Clip]], rng: np.random.Generator
) -> Iterator[Floats]:
    """The best place of a reading in another reading of its sentence, and in other sentences."""
    damage = ["identity", *list(DAMAGE.values())[:5]]
    twice = [clips for clips in sentences if len(clips) > 1]
    others = [corpus.read(sentences[index][0].path) for index in rng.permutation(len(sentences))[:200]]
    registered = [_signs(candidates, wav_T) for wav_T in others if len(wav_T) >= features.WINDOW_SAMPLES]
    for number, clips in enumerate(twice):
        one_T, again_T = (corpus.read(clip.path) for clip in clips[:2])
        if min(len(one_T), len(again_T)) < features.WINDOW_SAMPLES:
            continue
        again_T = edits.apply(again_T[:_UTTERANCE], damage[number % len(damage)], seed=number)
        values_QK = candidates.values(again_T)[0]
        yield _agreement(_signs(candidates, one_T), values_QK, _everywhere(len(one_T), len(again_T)))
        if number % 5 == 0:
            places = [
                _agreement(signs, values_QK, np.arange(-len(values_QK) / 4, STEP_FRAMES * len(signs) - 40))
                for signs in registered
            ]
            yield max(places, key=np.sum)


def _everywhere(registered: int, heard: int) -> Floats:
    """Begins, in frames, at which a query overlaps by half or more."""
    ends = np.array([-heard / 2, registered - heard / 2]) / features.FRAME_HOP_SAMPLES
    return np.arange(ends[0], ends[1], 1.0 / PHASES)


def _signs(candidates: Directions, wav_T: Wav) -> NDArray[np.float32]:
    """+1 and -1 of every patch of a recording [P, K]."""
    packed_NB = candidates.signs(windows.pictures(wav_T))
    return np.unpackbits(packed_NB, axis=1).reshape(-1, candidates.num_signs).astype(np.float32) * 2.0 - 1.0


def _agreement(signs_PK: NDArray[np.float32], values_QK: NDArray[np.float32], begins_V: Floats) -> Floats:
    """By direction, at the begin [frames] where they agree best; divided by the root of the patches."""
    patches = np.arange(len(signs_PK))
    frame_P = HOP_FRAMES * (patches // NUM_PATCHES) + FIRST_FRAME + STEP_FRAMES * (patches % NUM_PATCHES)
    row_VP = np.rint(PHASES * (frame_P - begins_V[:, None])).astype(np.int64)
    inside_VP = (row_VP >= 0) & (row_VP < len(values_QK))
    row_VP = np.where(inside_VP, row_VP, 0)
    sum_V = np.where(inside_VP, (signs_PK @ values_QK.T)[patches, row_VP], 0.0).sum(axis=1)
    power_V = np.where(inside_VP, np.square(values_QK).sum(axis=1)[row_VP], 0.0).sum(axis=1)
    best = int(np.argmax(sum_V / np.sqrt(power_V + 1e-9)))
    chosen_P = np.flatnonzero(inside_VP[best])
    value_PK = values_QK[row_VP[best, chosen_P]].astype(np.float64)
    norm = np.sqrt(np.square(value_PK).sum() * max(len(chosen_P), 1))
    return np.asarray((value_PK * signs_PK[chosen_P]).sum(axis=0) / max(norm, 1e-9))


def _inverse_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 0.0) + _FLOOR * values.max())) @ vectors.T)


def _directions(registered_KD: Floats, mean_D: Floats, heard_KD: Floats, heard_mean_D: Floats) -> Directions:
    directions = Directions(len(registered_KD))
    shape = (-1, features.NUM_BANDS, PATCH_FRAMES)
    state = {
        "registered": registered_KD.reshape(shape),
        "registered_mean": registered_KD @ mean_D,
        "heard": heard_KD.reshape(shape),
        "heard_mean": heard_KD @ heard_mean_D,
    }
    directions.load_state_dict({name: torch.from_numpy(one).float() for name, one in state.items()})
    return directions
