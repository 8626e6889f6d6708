"""Train the small voice: text, then text and speech of all voices, then mostly one voice, then conversations.

    stages (config.Stage)       text -> joint -> say -> dialogue; each has steps, 0 leaves it out
    OUT/checkpoint.safetensors  what a run goes on from, every five minutes (audio/run_state.py)
    OUT/codes-…                 the training speech as codes (codes.py)
    OUT/model                   the result, a folder that `earmark say --model` takes; written at each report,
                                from the running mean of the weights
    OUT/held_out.jsonl          its figures, a line for each report

A crash loses at most the steps since the last checkpoint, and they are taken again with the same batches.
Runs unchanged on CUDA; in bfloat16 but for the weights where that is faster (audio/bfloat16.py).
Source: Moshi (Defossez et al., 2024, sec. 3.4 and 4.2). The depth transformer sees a random part of the
frames, as in Sesame's CSM (2025). Differs: the say stage goes on beside the dialogue stage, and one model
does both.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import run_state
from audio.bfloat16 import multiplies_bfloat16
from generation.checkpoints import read_mimi, write_checkpoint
from generation.errors import TrainingDataError
from generation.moshi import Guidance, Sampling
from generation.pronunciation import Pronunciations
from generation.text import Text
from generation.train.data import PRONUNCIATIONS, TOKENIZER
from generation.train.data.cache import SpeechCache
from generation.train.held_out import note_held_out
from generation.train.speech.batches import Batch, Sentences, Words
from generation.train.speech.codes import CodeCache
from generation.train.speech.config import SpeechRun, Stage, condition_configs
from generation.train.speech.losses import Corruption, losses_of
from generation.train.speech.report import held_out_figures, on_device
from generation.train.speech.scenes import Scenes
from generation.train.speech.voice import Voice, begin, begin_with

SHOWN_STEPS = 50
SAMPLING = Sampling(temperature=0.1, top_k=30, text_temperature=0.9, text_top_k=25)
GUIDANCE = Guidance(coefficient=2.0, without_text=True)
Report = Callable[[str], None]


class SpeechTraining:
    """Weights, optimiser and counters of one run; saved and restored together."""

    def __init__(self, run: SpeechRun, report: Report = lambda _: None) -> None:
        """Encodes what is not encoded yet. Raises TrainingDataError, CheckpointError."""
        torch.set_num_threads(run.threads)
        torch.manual_seed(run.seed)
        self.run = run
        speech, text = SpeechCache(run.data), Text.load(run.data / TOKENIZER)
        if not any(row.voice == run.voice for row in speech.rows):
            raise TrainingDataError(f"{run.data} has no speech of {run.voice}: run earmark train data first")
        mimi = read_mimi(run.codec, run.mimi, run.model.num_spoken, run.device)
        rows = [row for row in speech.rows if run.uses(row.voice, row.style)]
        codes = [CodeCache(speech, rows, mimi, run.out, report)]
        own = [row for row in rows if (row.voice, row.style) == (run.voice, "neutral")]
        for phase in range(1, run.phases):
            late = mimi.config.frame_samples * phase // run.phases
            codes.append(CodeCache(speech, own, mimi, run.out, report, late))
        if not (run.data / PRONUNCIATIONS).exists():
            raise TrainingDataError(f"{run.data} has no {PRONUNCIATIONS}: run earmark train data first")
        phones = Pronunciations.load(run.data / PRONUNCIATIONS)
        self.sentences = Sentences(run, speech, rows, codes, Words(text, phones))
        spelled = Words(text, Pronunciations({}))  # for what Moshi writes is read by people
        self.scenes = Scenes(run, mimi, spelled, report) if run.steps.get(Stage.DIALOGUE) else None
        self.voice = Voice(run.model, condition_configs(self.sentences.voices)).to(run.device)
        begin(self.voice.moshi, text)
        if run.start is not None:
            begin_with(self.voice, run.start)
        self.average = deepcopy(self.voice).requires_grad_(False)
        self.adam = torch.optim.AdamW(
            self.voice.parameters(), lr=run.learning_rate, betas=(0.9, 0.95), weight_decay=0.05, fused=True
        )
        self.step, self.spent_s = 0, 0.0
        if self._file.exists():
            counters = run_state.load(self._file, self._modules, {"speech": self.adam}, run.device)
            self.step, self.spent_s = int(counters["step"]), counters["spent_s"]

    def update(self) -> dict[str, float]:
        """One step; the losses it saw."""
        started, run = time.monotonic(), self.run
        for group in self.adam.param_groups:
            group["lr"] = run.rate(self.step)
        generator = torch.Generator().manual_seed(run.seed + self.step)
        batch = self.draw(self.step)
        corruption = Corruption.draw(run, batch, generator)
        chosen_BF = torch.rand(corruption.noisy_BF.shape, generator=generator) < run.depth_share
        loss, seen = self._loss(batch, corruption, chosen_BF)
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.voice.parameters(), 1.0)
        self.adam.step()
        self.average.follow(self.voice, 1 - min(run.averaging, (self.step + 1) / (self.step + 10)))
        self.step += 1
        self.spent_s += time.monotonic() - started
        return seen

    def draw(self, step: int) -> Batch:
        """What a step trains on."""
        rng, stage = np.random.default_rng((self.run.seed, step)), self.run.stage(step)
        if stage is not Stage.DIALOGUE:
            return self.sentences.draw(rng, stage)
        assert self.scenes is not None
        if rng.random() < self.run.scene_share:
            return self.scenes.draw(rng)
        return self.sentences.draw(rng, Stage.SAY)

    def save(self) -> None:
        """Write what a run goes on from."""
        counters = {"step": self.step, "spent_s": self.spent_s}
        run_state.save(self._file, self._modules, {"speech": self.adam}, counters)

    def publish(self) -> Path:
        """Write the model with the codec as its file is now: its decoder may have learned meanwhile."""
        run, folder = self.run, self.run.out / "model"
        write_checkpoint(
            folder,
            self.average.moshi,
            read_mimi(run.codec, run.mimi, run.model.num_spoken),
            (run.data / TOKENIZER).read_bytes(),
            SAMPLING,
            guidance=GUIDANCE,
            conditions=self.average.conditions,
            pronunciations=(run.data / PRONUNCIATIONS).read_bytes(),
            dtype=torch.float16,
        )
        return folder

    def _loss(
        self, batch: Batch, corruption: Corruption, chosen_BF: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        run = self.run
        corruption = Corruption(*(part.to(run.device) for part in corruption))
        batch = on_device(batch, run.device)
        device = torch.device(run.device).type
        with torch.autocast(device, torch.bfloat16, enabled=multiplies_bfloat16(device)):
            condition_B1E = self.voice.conditions(batch.conditions)
            losses = losses_of(
                self.voice.moshi, condition_B1E, batch, run, corruption, chosen_BF.to(run.device)
            )
        seen = {"text": float(losses.text.detach())}
        if losses.audio_K is not None:
            first, *others = losses.audio_K.detach().tolist()
            seen |= {"semantic": first, "acoustic": sum(others) / len(others)}
        return losses.total(run.semantic_weight), seen

    @property
    def _file(self) -> Path:
        return self.run.out / "checkpoint.safetensors"

    @property
    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"voice": self.voice, "average": self.average}


def run_speech(run: SpeechRun, report: Report) -> dict[str, float]:
    """Train to the end of the last stage, reporting held-out figures on the way; a stopped run goes on.

    Raises TrainingDataError when `run.data` has not been made or is damaged, CheckpointError for a codec file
    that is no codec of this size.
    """
    training = SpeechTraining(run, report)
    report(f"{len(training.sentences.held_out)} sentences held out, voices {training.sentences.voices}")
    sums: dict[str, float] = {}
    saved = time.monotonic()
    while training.step < run.num_steps:
        for name, value in training.update().items():
            sums[name] = sums.get(name, 0.0) + value / SHOWN_STEPS
        if training.step % SHOWN_STEPS == 0:
            shown = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            report(f"step {training.step} {shown} s/step {training.spent_s / training.step:.2f}")
            sums = {}
        if time.monotonic() - saved > run.checkpoint_s:
            training.save()
            saved = time.monotonic()
        if training.step % run.report_steps == 0:
            _note(training, report)
    training.save()
    return _note(training, report)


def _note(training: SpeechTraining, report: Report) -> dict[str, float]:
    training.publish()
    figures = held_out_figures(training.run, training.average, training.sentences, training.scenes)
    note_held_out(training.run.out, training.step, training.spent_s, figures, report)
    return figures
