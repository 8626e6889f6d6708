"""Train the fingerprint network: pairs of windows pulled together, all other windows of the batch pushed
apart.

    loss = NT-Xent over 2 B windows: cross-entropy of cos / 0.05 against the partner, the other 2 B - 2 being
    wrong

The schedule follows the clock and not the step count: a run takes the minutes it is given on whatever
machine it gets.
Dimension key: B pairs, D embedding width. Source: Chen et al. 2020 (SimCLR, arXiv 2002.05709), eq. 1, with
the temperature of Chang et al. 2021 (arXiv 2010.11910). Runs unchanged on CUDA (`device`).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from audio import corpus, run_state
from audio.store import Store, Wav
from registry.fingerprint.network import FingerprintNetwork
from registry.fingerprint.train import cache
from registry.fingerprint.train.augment import Augmenter, Chances
from registry.fingerprint.train.evaluate import HeldOut, measure
from registry.fingerprint.train.sampler import Sampler

_EMA_DECAY = 0.995


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. Times in minutes or steps as named; `out` also holds the checkpoint to go on
    from."""

    data: Path
    out: Path
    cache: Path
    minutes: float = 65.0
    pairs: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    temperature: float = 0.05
    num_copies: int = 2
    device: str = "cpu"
    threads: int = 1
    seed: int = 1
    checkpoint_steps: int = 200
    chances: Chances = field(default_factory=Chances)


def run(config: TrainConfig, report: Callable[[str], None]) -> tuple[FingerprintNetwork, dict[str, float]]:
    """Build the cache if need be, train, and return the averaged network with its held-out figures.

    A run that was stopped goes on from its last checkpoint (at most `checkpoint_steps` are lost). Sets the
    number of torch threads of this process. Raises CorpusError when `data` is not a corpus folder.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    cache.build(config.data, config.cache, config.num_copies, config.seed)
    parts = corpus.split(corpus.load(config.data))
    clips = Store(config.cache, "clips")
    train_files = {clip.path.name for clip in parts.train}
    sampler = Sampler(clips, cache.finished_copies(config.cache), train_files)
    augmenter = _augmenter(config)
    held_out = HeldOut(clips, {clip.path.name for clip in parts.validation}, augmenter)
    run_state = _Run(config)
    while run_state.progress < 1.0:
        started = time.monotonic()
        rng = np.random.default_rng((config.seed, run_state.step))
        loss = run_state.update(sampler, augmenter, rng)
        run_state.spent_s += time.monotonic() - started
        if run_state.step % 20 == 0:
            report(
                f"step {run_state.step} loss {loss:.4f} progress {run_state.progress:.3f} "
                f"s/step {run_state.spent_s / run_state.step:.2f}"
            )
        if run_state.step % config.checkpoint_steps == 0:
            run_state.save()
            figures = measure(run_state.averaged, held_out)
            report(f"step {run_state.step} held-out " + " ".join(f"{k} {v:.3f}" for k, v in figures.items()))
            sampler = Sampler(clips, cache.finished_copies(config.cache), train_files)
    run_state.save()
    return run_state.averaged, measure(run_state.averaged, held_out)


def nt_xent(first_BD: torch.Tensor, second_BD: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over both directions; the partner of row i is row i of the other argument."""
    B, _ = first_BD.shape
    both = torch.cat([first_BD, second_BD])
    similarity = both @ both.T / temperature
    similarity.fill_diagonal_(-math.inf)
    partner = torch.arange(2 * B, device=both.device).roll(B)
    return functional.cross_entropy(similarity, partner)


class _Run:
    """Weights, their running average, the optimiser and the clock; saved and restored together."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.network = FingerprintNetwork().to(config.device)
        self.averaged = FingerprintNetwork().to(config.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.spent_s = 0.0
        config.out.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._restore()

    @property
    def progress(self) -> float:
        return self.spent_s / (60.0 * self.config.minutes)

    @property
    def _file(self) -> Path:
        return self.config.out / "checkpoint.safetensors"

    def update(self, sampler: Sampler, augmenter: Augmenter, rng: np.random.Generator) -> float:
        pairs = sampler.draw(self.config.pairs, rng)
        with torch.no_grad():
            pictures = torch.cat([augmenter.anchors(pairs.anchor_BT), augmenter.copies(pairs.span_BT, rng)])
        warm = min(1.0, (self.step + 1) / 100)
        rate = (
            self.config.learning_rate
            * warm
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress))))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        first_BD, second_BD = self.network(pictures).chunk(2)
        loss = nt_xent(first_BD, second_BD, self.config.temperature)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        decay = min(_EMA_DECAY, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)
        self.step += 1
        return float(loss.detach())

    def save(self) -> None:
        run_state.save(self._file, *self._parts, {"step": self.step, "spent_s": self.spent_s})

    def _restore(self) -> None:
        counters = run_state.load(self._file, *self._parts, self.config.device)
        self.step, self.spent_s = int(counters["step"]), counters["spent_s"]

    @property
    def _parts(self) -> tuple[dict[str, torch.nn.Module], dict[str, torch.optim.Optimizer]]:
        return {"network": self.network, "averaged": self.averaged}, {"network": self.optimiser}


def _augmenter(config: TrainConfig) -> Augmenter:
    def part(store: Store, clips: list[corpus.Clip]) -> list[Wav]:
        names = {clip.path.name for clip in clips}
        return [store.read(r.start, r.length) for r in store.recordings if r.file in names]

    noises = part(Store(config.cache, "noise"), corpus.split(corpus.load_noise(config.data)).train)
    rooms = part(Store(config.cache, "room"), corpus.split(corpus.load_rooms(config.data)).train)
    return Augmenter(noises, rooms, config.chances, config.device)
