"""Train the public mark: a generator that hides, a detector that finds, in an order that works.

    loud first      the mark begins 10 dB below the speech and sinks while it is found in clean audio
    attacks then    half of the clips, the hardest attack most often (attacks.py)
    loss            presence of each frame and of the clip, marked and unmarked alike; bits of the message
    loudness        fixed by `follow`, in place of every perceptual loss: there is nothing to trade

Each clip comes twice, marked and not, and both take the same attack, so that the detector cannot learn to
find attacks. OUT/checkpoint.safetensors is what a run goes on from, OUT/public_mark.safetensors the result.
Runs unchanged on CUDA. Dimension key: B clips, T samples, F frames, M message bits.
Source: AudioSeal (San Roman et al., 2024) for the two networks; XAttnMark (2025), SilentCipher (2024) and
WaveVerify (2025) for the order; weights and rates are ours (docs/LOG.md).
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audio import corpus, run_state
from watermark.audioseal.detect import Listener, audible_weights, levelled
from watermark.audioseal.loudness import LoudnessState, follow
from watermark.audioseal.network import (
    build_detector,
    build_generator,
    frame_logits,
    message_logits,
    presence,
    raw_mark,
)
from watermark.audioseal.weights import PublicWeights, write
from watermark.train.public.attacks import ATTACKS, Difficulty
from watermark.train.public.calibrate import calibrate
from watermark.train.public.clips import Clips
from watermark.train.public.config import SealRun
from watermark.train.public.report import held_out_figures

FOUND_BELOW = 0.05  # share of clean clips judged wrongly, below which the mark may sink further
SHOWN_STEPS = 25
_MEMORY = 0.95
Report = Callable[[str], None]


class SealTraining:
    """Weights, optimiser and counters of one run; saved and restored together."""

    def __init__(self, run: SealRun) -> None:
        torch.set_num_threads(run.threads)
        torch.manual_seed(run.seed)
        self.run = run
        self.clips = Clips(run.data, run.out / "cache")
        self.generator = build_generator(run.config).to(run.device)
        self.detector = build_detector(run.config).to(run.device)
        self.adam = torch.optim.AdamW(
            [*self.generator.parameters(), *self.detector.parameters()],
            lr=run.learning_rate,
            betas=(0.8, 0.99),
            weight_decay=1e-4,
        )
        self.step, self.spent_s = 0, 0.0
        self.snr_db, self.clean_error = run.loudest_snr_db, 0.5
        self.difficulty = Difficulty()
        if self._file.exists():
            self._restore()

    def update(self) -> dict[str, float]:
        """One step; the losses it saw."""
        started = time.monotonic()
        rng = np.random.default_rng((self.run.seed, self.step))
        for group in self.adam.param_groups:
            group["lr"] = self.run.rate(self.step)
        host_BT = self.clips.draw(self.run.clips, self.run.clip_samples, rng).to(self.run.device)
        bits_BM = torch.from_numpy(rng.integers(0, 2, (len(host_BT), self.run.config.bits))).to(
            host_BT.device
        )
        marked_BT = host_BT + self._mark(host_BT, bits_BM)
        attack = self._attack(rng)
        heard_BT = _attacked(torch.cat([marked_BT, host_BT]), attack, rng)
        logits_BCF = frame_logits(self.detector, levelled(heard_BT))
        weights_BF = audible_weights(torch.cat([host_BT, host_BT]))
        presence_B, seen = self._presence_loss(presence(logits_BCF), weights_BF, attack)
        bits_loss, wrong_bits = _bits_loss(message_logits(logits_BCF), weights_BF, bits_BM)
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(presence_B + bits_loss)
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(self.detector.parameters(), 1.0)
        self.adam.step()
        self.step += 1
        self.spent_s += time.monotonic() - started
        return seen | {"bits": float(bits_loss.detach()), "wrong_bits": wrong_bits, "snr_db": self.snr_db}

    def save(self) -> None:
        """A crash in here leaves the checkpoint before it."""
        counters = {
            "step": self.step,
            "spent_s": self.spent_s,
            "snr_db": self.snr_db,
            "clean_error": self.clean_error,
        }
        counters |= {f"error.{name}": error for name, error in self.difficulty.errors.items()}
        run_state.save(self._file, self.modules, {"both": self.adam}, counters)

    def _restore(self) -> None:
        counters = run_state.load(self._file, self.modules, {"both": self.adam}, self.run.device)
        self.step, self.spent_s = int(counters["step"]), counters["spent_s"]
        self.snr_db, self.clean_error = counters["snr_db"], counters["clean_error"]
        for name in self.difficulty.errors:
            self.difficulty.errors[name] = counters[f"error.{name}"]

    def _mark(self, host_BT: Tensor, bits_BM: Tensor) -> Tensor:
        state = LoudnessState.fresh(len(host_BT), host_BT.device)
        return follow(state, host_BT, raw_mark(self.generator, host_BT, bits_BM), self.snr_db)

    def _attack(self, rng: np.random.Generator) -> str | None:
        if self.snr_db < self.run.attacks_from_snr_db:
            return None
        return self.difficulty.draw(rng)

    def _presence_loss(
        self, presence_BF: Tensor, weights_BF: Tensor, attack: str | None
    ) -> tuple[Tensor, dict[str, float]]:
        """Of marked clips, the first half, and unmarked ones; and what it says about clean and attacked."""
        B = len(presence_BF) // 2
        truth_B = torch.cat([torch.ones(B), torch.zeros(B)]).to(presence_BF.device)
        frames_BF = functional.binary_cross_entropy_with_logits(
            presence_BF, truth_B[:, None].expand_as(presence_BF), reduction="none"
        )
        score_B = (presence_BF * weights_BF).sum(dim=1)
        clip = functional.binary_cross_entropy_with_logits(score_B, truth_B)
        loss = (frames_BF * weights_BF).sum(dim=1).mean() + clip
        wrong_B = ((score_B.detach() > 0) != (truth_B > 0)).float().cpu()
        attacked_B = _attacked_rows(2 * B) if attack else torch.zeros(2 * B, dtype=torch.bool)
        self._learn(float(wrong_B[~attacked_B].mean()))
        seen = {"presence": float(loss.detach()), "wrong": float(wrong_B[~attacked_B].mean())}
        if attack:
            seen["wrong_attacked"] = float(wrong_B[attacked_B].mean())
            self.difficulty.learn(attack, seen["wrong_attacked"])
        return loss, seen

    def _learn(self, clean_error: float) -> None:
        self.clean_error = _MEMORY * self.clean_error + (1.0 - _MEMORY) * clean_error
        if self.clean_error < FOUND_BELOW:
            self.snr_db = min(self.snr_db + self.run.quieter_db, self.run.snr_db)

    @property
    def _file(self) -> Path:
        return self.run.out / "checkpoint.safetensors"

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        return {"generator": self.generator, "detector": self.detector}


def _attacked_rows(num: int) -> Tensor:
    """Every second clip, marked and unmarked twins alike (num is twice an even number of clips)."""
    return torch.arange(num) % 2 == 1


def _attacked(wav_BT: Tensor, attack: str | None, rng: np.random.Generator) -> Tensor:
    if attack is None:
        return wav_BT
    heard_BT = wav_BT.clone()
    rows_B = _attacked_rows(len(wav_BT)).to(wav_BT.device)
    heard_BT[rows_B] = ATTACKS[attack](wav_BT[rows_B], rng)
    return heard_BT


def _bits_loss(logits_BMF: Tensor, weights_BF: Tensor, bits_BM: Tensor) -> tuple[Tensor, float]:
    """Of the marked clips, which are the first; and the share of bits that are read wrongly."""
    B = len(bits_BM)
    read_BM = (logits_BMF[:B] * weights_BF[:B, None]).sum(dim=2)
    loss = functional.binary_cross_entropy_with_logits(read_BM, bits_BM.float())
    return loss, float(((read_BM > 0) != (bits_BM > 0)).float().mean())


def run_public(run: SealRun, report: Report) -> dict[str, float]:
    """Train to `run.steps`; the figures on test speakers. A stopped run goes on from its checkpoint.

    Raises CorpusError when `run.data` is not a corpus folder, WeightsError when it is too small to calibrate.
    """
    training = SealTraining(run)
    seen: dict[str, list[float]] = {}
    while training.step < run.steps:
        for name, value in training.update().items():
            seen.setdefault(name, []).append(value)
        if training.step % SHOWN_STEPS == 0:
            shown = " ".join(f"{name} {np.mean(values):.4f}" for name, values in seen.items())
            report(f"step {training.step} {shown} s/step {training.spent_s / training.step:.2f}")
            seen = {}
        if training.step % run.checkpoint_steps == 0:
            training.save()
    training.save()
    return _publish(training, report)


def _publish(training: SealTraining, report: Report) -> dict[str, float]:
    """Calibrate on validation speakers, write OUT/public_mark.safetensors, report on test speakers."""
    run = training.run
    networks = {name: network.to("cpu") for name, network in training.modules.items()}
    parts = corpus.split(corpus.load(run.data))
    null = calibrate(Listener(training.detector.to("cpu")), parts.validation, report)
    path = run.out / "public_mark.safetensors"
    write(path, run.config, networks, null, f"trained by us, {training.step} steps")
    figures = held_out_figures(PublicWeights.load(path), parts)
    line = json.dumps({"step": training.step, "spent_s": round(training.spent_s)} | figures)
    with (run.out / "held_out.jsonl").open("a") as file:
        file.write(line + "\n")
    return figures
