"""Fit the reader of `keyed.reader`: what each tile of attacked speech is worth as evidence of a mark.

    python -m watermark.train.reader CORPUS -o reader.safetensors [--speakers 64] [--steps 3000]

Marks speech of training speakers, each with a key and a content id of its own, attacks it, and makes the
logarithm of z as large as it gets: a tenth more counts the same whatever was done to the audio. With one key
for all, what its signs have in common with speech would be learned. Attacks have other strengths than those
that are reported, but for untouched audio, MP3 at 16 kbit/s and A-law. A part of the speech carries the depth
of earlier marks, so that those are read too. Prints z on every eighth speaker, who is left out, beside the
plain weights P / (P + 4 floor).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn

from audio import corpus, edits
from audio.edits import Edit
from watermark import payload
from watermark.keyed import features, geometry, reader
from watermark.keyed.depth import Depth
from watermark.keyed.embed import KeyedEmbedder
from watermark.keyed.geometry import TILE_FRAMES, Layout
from watermark.keys import Key

Floats = npt.NDArray[np.float32]

CLIP_SAMPLES = 10 * geometry.SAMPLE_RATE_HZ
_LEAST_Z = 0.5  # less is not worth a large gradient
_LEAD_FRAMES = 3  # the embedder's first frame begins 360 samples before the audio
_AMR = {"codec": "libopencore_amrnb", "rate_hz": 8_000}
ATTACKS = (
    Edit("identity", "identity"),
    *(Edit(f"opus_{k}k", "opus", {"bit_rate": 1000 * k}) for k in (9, 11, 14, 20)),
    *(Edit(f"mp3_{k}k", "mp3", {"bit_rate": 1000 * k}) for k in (16, 24, 40)),
    Edit("alaw", "telephone_codec", {"codec": "pcm_alaw", "rate_hz": 8_000}),
    *(Edit(f"amr_{b}", "telephone_codec", {**_AMR, "bit_rate": b}) for b in (6_700, 10_200)),
    Edit("band", "band_pass", {"low_hz": 350, "high_hz": 3200}),
    Edit("low_pass", "low_pass", {"cutoff_hz": 2800}),
    *(Edit(f"noise_{db}", "white_noise", {"snr_db": db}) for db in (24, 17, 12, 8)),
    Edit("pink_14", "pink_noise", {"snr_db": 14}),
    Edit("babble_14", "babble", {"snr_db": 14}),
    *(Edit(f"room_{s}", "simulated_reverb", {"rt60_s": s, "drr_db": d}) for s, d in ((0.4, 1), (0.6, -1))),
    Edit("limit_30", "limit", {"threshold_db": -30}),
)


class EarlierDepth(Depth):
    """The depth of marks made before 2026-11-26: a power law of the band's level in its frame."""

    _CAP_K = np.repeat(np.array([0.2, 0.22, 0.4], np.float32), [8, 20, geometry.NUM_BANDS - 28])

    def of(self, power_FK: Floats) -> Floats:
        peak_F1 = np.maximum(power_FK.max(axis=1, keepdims=True), 1e-12)
        depth_FK = 0.031 * np.maximum(power_FK / peak_F1, 1e-9) ** -0.4
        return np.asarray(np.minimum(depth_FK, self._CAP_K), np.float32)


class Network(nn.Module):
    """What `keyed.reader.Reader` computes, for gradients; planes are rows of whole tiles."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(reader.NUM_INPUTS, width, (5, 5), padding="same")
        self.second = nn.Conv2d(width, width, (3, 3), padding="same")
        self.last = nn.Conv2d(width, 3, 1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            assert self.last.bias is not None
            self.last.bias.zero_()

    def forward(self, seen_NK8: torch.Tensor, residual_NK: torch.Tensor) -> torch.Tensor:
        """Inputs [N, K, 8] and residuals [N, K] -> evidence [N, K]."""
        hidden = torch.relu(self.first(seen_NK8.permute(2, 0, 1)[None]))
        weight, slope, correction = self.last(torch.relu(self.second(hidden)))[0]
        bent = torch.tanh((residual_NK + correction) * torch.exp(slope) / 2)
        return torch.exp(weight.clamp(max=reader.MAX_LOG_WEIGHT)) * bent


@dataclass(frozen=True)
class Mark:
    """What a recording is marked with, of training only: neither is in what is learned."""

    key: Key
    content_id: int

    @classmethod
    def of_speaker(cls, speaker: int) -> Mark:
        rng = np.random.default_rng(9000 + speaker)
        return cls(Key(rng.bytes(16)), int(rng.integers(1 << payload.ID_BITS)))

    def signs(self) -> Floats:
        """Return those of all tiles of a period [128, K]."""
        return Layout.of(self.key).with_payload(payload.encode(self.key, self.content_id))

    @property
    def first_row(self) -> int:
        """Of the period, with which the recording begins."""
        return geometry.first_row(self.key, self.content_id)


@dataclass(frozen=True)
class Example:
    """The tiles of one attacked recording, on the grid of its mark, and the signs that it was given."""

    attack: str
    speaker: int
    seen_NK8: torch.Tensor  # float16
    residual_NK: torch.Tensor
    signs_NK: torch.Tensor  # 0 where the tile is silent
    plain_z: float


def marked(wav_T: Floats, mark: Mark, depth: Depth) -> Floats:
    """Return the recording with the mark."""
    embedder = KeyedEmbedder(Layout.of(mark.key))
    state = embedder.open(payload.encode(mark.key, mark.content_id), mark.first_row)
    state.depth = depth
    return np.concatenate([embedder.push(state, wav_T), embedder.flush(state)])


def example(wav_T: Floats, attack: Edit, mark: Mark, speaker: int) -> Example:
    """Attack a marked recording and cut it into its tiles."""
    power, residual, peak_F, audible_F = features.tiles(edits.apply(wav_T, attack, seed=speaker))
    late = 1 if attack.name.startswith("amr") else 0  # 5 ms, see audio.edits.codecs
    offset = TILE_FRAMES * mark.first_row + _LEAD_FRAMES - late
    phase = -offset % TILE_FRAMES
    rows = slice(phase, None, TILE_FRAMES)
    residual_NK, power_NK = residual[rows], power[rows]
    period_row = ((offset + phase) // TILE_FRAMES + np.arange(len(residual_NK))) % geometry.PERIOD_TILES
    signs_NK = mark.signs()[period_row] * audible_F[rows, None]
    floor_K = np.percentile(power, 10, axis=0)
    plain = np.clip(residual_NK, -features.CLIP, features.CLIP) * (
        power_NK / (power_NK + 4 * floor_K + 1e-12)
    )
    tensor = torch.from_numpy
    seen = reader.inputs(power, residual, peak_F)[rows].astype(np.float16)
    signs = tensor(signs_NK.astype(np.float32))
    return Example(
        attack.name,
        speaker,
        tensor(seen),
        tensor(residual_NK.copy()),
        signs,
        float(z(tensor(plain.astype(np.float32)), signs)),
    )


def z(evidence_NK: torch.Tensor, signs_NK: torch.Tensor) -> torch.Tensor:
    """Return the correlation of the evidence, each band balanced, with all signs; mean 0 and variance 1 for
    random ones."""
    balanced_NK = balanced(evidence_NK * signs_NK.abs())
    return (balanced_NK * signs_NK).sum() / torch.sqrt(balanced_NK.square().sum() + 1e-9)


def balanced(evidence_NK: torch.Tensor) -> torch.Tensor:
    """Return what `features.tile_features` makes of the reader's evidence: each band sums to zero."""
    positive, negative = evidence_NK.clamp(min=0), evidence_NK.clamp(max=0)
    for_K, against_K = positive.sum(dim=0), -negative.sum(dim=0)
    lighter_K = torch.minimum(for_K, against_K)
    return positive * (lighter_K / (for_K + 1e-9)) + negative * (lighter_K / (against_K + 1e-9))


def examples(wavs: Iterable[Floats], num_earlier: int) -> Iterator[Example]:
    """Mark and attack every recording; the first `num_earlier` with the earlier depth too."""
    for speaker, wav_T in enumerate(wavs):
        mark = Mark.of_speaker(speaker)
        for depth in [Depth(), *([EarlierDepth()] if speaker < num_earlier else [])]:
            marked_T = marked(wav_T, mark, depth)
            yield from (example(marked_T, attack, mark, speaker) for attack in ATTACKS)


def train(data: list[Example], steps: int, rate: float = 4e-3, batch: int = 10) -> Network:
    """Fit a network to the examples; the same data and steps give the same weights."""
    torch.manual_seed(0)
    network, rng = Network(), np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        chosen = [data[int(i)] for i in rng.choice(len(data), batch)]
        found = [z(network(e.seen_NK8.float(), e.residual_NK), e.signs_NK) for e in chosen]
        loss = -torch.stack(found).clamp(min=_LEAST_Z).log().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            sys.stdout.write(f"step {step}: z {math.exp(-float(loss.detach())):.2f}, geometric mean\n")
            sys.stdout.flush()
    return network


def _clips(root: Path, num_speakers: int) -> Iterator[Floats]:
    clips = corpus.split(corpus.load(root)).train
    seen: set[tuple[str, str]] = set()
    for index in np.random.default_rng(11).permutation(len(clips)):
        clip = clips[index]
        known = clip.source in corpus.ANONYMOUS_SOURCES or (clip.source, clip.speaker) in seen
        if (clip.seconds or 0) >= 10.2 and not known and len(seen) < num_speakers:
            seen.add((clip.source, clip.speaker))
            yield corpus.read(clip.path)[:CLIP_SAMPLES]


def main() -> None:
    """Fit on seven speakers of eight, print z on the eighth, write the weights."""
    parser = argparse.ArgumentParser(description="Fit the reader of the keyed mark.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--speakers", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    data = list(examples(_clips(arguments.corpus, arguments.speakers), arguments.speakers * 2 // 5))
    network = train([e for e in data if e.speaker % 8 != 7], arguments.steps)
    held_out = [e for e in data if e.speaker % 8 == 7]
    with torch.no_grad():
        for attack in ATTACKS:
            of = [e for e in held_out if e.attack == attack.name]
            plain = np.mean([e.plain_z for e in of])
            learned = np.mean([float(z(network(e.seen_NK8.float(), e.residual_NK), e.signs_NK)) for e in of])
            sys.stdout.write(f"{attack.name}: z {plain:.1f} -> {learned:.1f}\n")
    save_file(network.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
