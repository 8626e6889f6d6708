"""Train the fingerprint network: pairs of windows pulled together, all other windows of the batch pushed
apart.

    loss = NT-Xent over 2 B windows (losses.py): wrong are the other 2 B - 2 and, for the copies, the windows
           of the last steps that are of another recording

The remembered windows cost one product and stand for a registry: what a window must not resemble by chance is
not a batch but a million others. The next batch is drawn and damaged while one is learned from. The schedule
follows the clock and not the step count: a run takes the minutes it is given on whatever machine it gets.
Dimension key: B pairs, N remembered windows, D embedding width. Source: Chen et al. 2020 (SimCLR, arXiv
2002.05709), with the temperature of Chang et al. 2021 (arXiv 2010.11910); the memory of Wang et al. 2020
(arXiv 1912.06798). Products in bfloat16 where the device is quickest at it; runs unchanged on CUDA
(`device`).
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from audio import corpus, run_state
from audio.bfloat16 import multiplies_bfloat16
from registry.errors import WeightsUnavailable
from registry.fingerprint.network import FingerprintNetwork
from registry.fingerprint.train import cache, respoken
from registry.fingerprint.train.augment import Augmenter, Chances
from registry.fingerprint.train.cache import FrameStore
from registry.fingerprint.train.calibrate import REPEATED_WORDS
from registry.fingerprint.train.evaluate import HeldOut, measure
from registry.fingerprint.train.losses import LossName, Remembered, loss_of
from registry.fingerprint.train.sampler import Sampler

_EMA_DECAY = 0.995
_NETWORK = "network."  # of what a weights file holds (publish.py)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. Times in minutes or steps as named; `out` also holds the checkpoint to go on
    from."""

    data: Path
    out: Path
    cache: Path
    minutes: float = 65.0
    pairs: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    loss: LossName = "triplet"
    num_remembered: int = 32_768
    num_copies: int = 2
    start: Path | None = None  # weights to begin with; None: random ones
    device: str = "cpu"
    threads: int = 1
    seed: int = 1
    checkpoint_steps: int = 200
    chances: Chances = field(default_factory=Chances)


def run(
    config: TrainConfig, report: Callable[[str], None], codecs: Sequence[cache.Recoder] = ()
) -> tuple[FingerprintNetwork, dict[str, float]]:
    """Build the cache if need be, train, and return the averaged network with its held-out figures.

    A run that was stopped goes on from its last checkpoint (at most `checkpoint_steps` are lost). Sets the
    number of torch threads of this process. Raises CorpusError when `data` is not a corpus folder.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    cache.build(config.data, config.cache, config.num_copies, config.seed, codecs)
    parts = corpus.split(corpus.load(config.data))
    clips = FrameStore(config.cache, "clips")
    train_files = {clip.path.name for clip in parts.train}
    train_files |= {one.file for one in clips.recordings if one.source == respoken.SOURCE}
    sampler = Sampler(clips, cache.finished_copies(config.cache), train_files)
    noise = FrameStore(config.cache, "noise")
    noises = [noise.frames(one, 0, noise.num_frames(one))[0] for one in noise.recordings]
    augmenter = Augmenter(noises, config.chances, config.device)
    spoken = [clip for clip in parts.validation if clip.source not in REPEATED_WORDS]
    held_out = HeldOut(clips, {clip.path.name for clip in spoken}, augmenter)
    training = Training(config)
    with ThreadPoolExecutor(1) as worker:
        batches = _Batches(config, sampler, augmenter, worker)
        while training.progress < 1.0:
            started = time.monotonic()
            loss = training.update(batches.take(training.step))
            training.spent_s += time.monotonic() - started
            if training.step % 20 == 0:
                report(
                    f"step {training.step} loss {loss:.4f} progress {training.progress:.3f} "
                    f"s/step {training.spent_s / training.step:.2f}"
                )
            if training.step % config.checkpoint_steps == 0:
                training.save()
                figures = measure(training.averaged, held_out)
                report(
                    f"step {training.step} held-out " + " ".join(f"{k} {v:.3f}" for k, v in figures.items())
                )
                batches.sampler = Sampler(clips, cache.finished_copies(config.cache), train_files)
    training.save()
    return training.averaged, measure(training.averaged, held_out)


class _Batch(NamedTuple):
    """Pictures of B anchors and of their B copies, and the recording of each pair."""

    pictures: torch.Tensor
    recording_B: torch.Tensor


class _Batches:
    """The batch of each step, drawn from the step's own random numbers, one ahead of the step that asks."""

    def __init__(
        self, config: TrainConfig, sampler: Sampler, augmenter: Augmenter, worker: ThreadPoolExecutor
    ) -> None:
        self.sampler = sampler
        self._config, self._augmenter, self._worker = config, augmenter, worker
        self._next: Future[_Batch] | None = None

    def take(self, step: int) -> _Batch:
        """The batch of this step; steps follow each other."""
        job = self._next or self._worker.submit(self._made, step)
        self._next = self._worker.submit(self._made, step + 1)
        return job.result()

    @torch.no_grad()
    def _made(self, step: int) -> _Batch:
        rng = np.random.default_rng((self._config.seed, step))
        pairs = self.sampler.draw(self._config.pairs, rng)
        copies = self._augmenter.copies(pairs.span_BFM, pairs.missing_BF, rng)
        pictures = torch.cat([self._augmenter.anchors(pairs.anchor_BFM), copies])
        return _Batch(pictures, torch.from_numpy(pairs.recording_B).to(self._config.device))


class _Memory:
    """Embeddings of the anchors of the last steps, and the recording each came from."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._emb_ND = torch.zeros(0)
        self._recording_N = torch.zeros(0, dtype=torch.int64)

    def of(self, recording_B: torch.Tensor) -> Remembered | None:
        """Wrong are those of other recordings: windows of one recording may overlap."""
        if not len(self._emb_ND):
            return None
        return Remembered(self._emb_ND, self._recording_N[None, :] != recording_B[:, None])

    def add(self, anchor_BD: torch.Tensor, recording_B: torch.Tensor) -> None:
        self._emb_ND = torch.cat([self._emb_ND.to(anchor_BD), anchor_BD.detach()])[-self._size :]
        self._recording_N = torch.cat([self._recording_N.to(recording_B), recording_B])[-self._size :]


class Training:
    """Weights, their running average, the optimiser and the clock; saved and restored together."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.network = FingerprintNetwork().to(config.device)
        if config.start is not None:
            try:
                stored = load_file(config.start)
                ours = {n.removeprefix(_NETWORK): t for n, t in stored.items() if n.startswith(_NETWORK)}
                self.network.load_state_dict(ours)
            except RuntimeError as exc:
                raise WeightsUnavailable(f"{config.start} holds weights of another network: {exc}") from exc
        self.averaged = FingerprintNetwork().to(config.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.memory = _Memory(config.num_remembered)
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

    def update(self, batch: _Batch) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        rate = (
            self.config.learning_rate
            * warm
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress))))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        kind = torch.device(self.config.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=multiplies_bfloat16(kind)):
            emb = self.network(batch.pictures)
        first_BD, second_BD = emb.float().chunk(2)
        loss = loss_of(self.config.loss, first_BD, second_BD, self.memory.of(batch.recording_B))
        self.memory.add(first_BD, batch.recording_B)
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
