"""Train a codec. One with a vocoder: codes are worked out (analysis.py), and its decoder learns at once.
One with SEANet: first as an autoencoder, then with codebooks, at last its decoder alone.

    step < plain_steps          latents reach the decoder unquantized
    then                        codebooks are placed by k-means and learn with the rest
    from frozen_from on         encoder and codebooks stay: codes no longer change, so a speech model can be
                                trained on them meanwhile
    from adversarial_from on    a discriminator joins, either kind

OUT/checkpoint.safetensors is what a run goes on from; OUT/codec.safetensors (float16, published names) is the
result, written at each report. Runs unchanged on CUDA. Dimension key: B clips, T samples, F frames.
Source: Moshi (Defossez et al., 2024, sec. 3.3); weights of the losses are ours (docs/LOG.md).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from audio import run_state
from audio.bfloat16 import multiplies_bfloat16
from generation.checkpoints import read_mimi
from generation.checkpoints.writing import write_codec
from generation.mimi import Mimi, MimiState
from generation.mimi.quantizer import Codebook
from generation.mimi.vocoder import Vocoder
from generation.train.codec.analysis import fit
from generation.train.codec.clips import Batch, Clips
from generation.train.codec.config import CodecRun
from generation.train.codec.discriminator import Discriminator
from generation.train.codec.losses import (
    RESOLUTIONS,
    SPECTRAL_WINDOWS,
    feature_distance,
    hinge_discriminator,
    hinge_generator,
    mel_distance,
    spectral_distance,
)
from generation.train.codec.phones import phone_loss
from generation.train.codec.pitch import pitch_loss
from generation.train.codec.quantize import draw_num_used, place_codebooks, quantize
from generation.train.codec.report import held_out_figures, measures
from generation.train.codec.scale import scale_convolutions
from generation.train.held_out import note_held_out

LEARNED_OF_A_VOCODER = ("decoder.model.", "decoder_transformer.")
COMMITMENT_WEIGHT = 0.5
PHONE_WEIGHT = 0.5
PITCH_WEIGHT = 2.0
ADVERSARIAL_WEIGHT = 0.05
FEATURE_WEIGHT = 0.2
PLACING_BATCHES = 40
SHOWN_STEPS = 50
TRAINING, SCALING, PLACING = range(3)  # what a batch is drawn for: each has clips of its own
Report = Callable[[str], None]


class CodecTraining:
    """Weights, optimisers and counters of one run; saved and restored together."""

    def __init__(self, run: CodecRun) -> None:
        torch.set_num_threads(run.threads)
        torch.manual_seed(run.seed)
        self.run = run
        self.clips = Clips(
            run.data, run.out / "cache", run.codec.frame_samples, run.speech, run.spoken_voices
        )
        self.codec = Mimi(run.codec, run.codec.num_codebooks).to(run.device)
        if run.codec.vocoder:  # the rest is worked out, and Adam's steps are large beside it
            for name, parameter in self.codec.named_parameters():
                parameter.requires_grad_(name.startswith(LEARNED_OF_A_VOCODER))
        self.phones = nn.Linear(run.codec.latent_dim, len(self.clips.phones.names)).to(run.device)
        self.disc = Discriminator(run.disc_filters).to(run.device)
        self.adam = torch.optim.AdamW(
            [p for p in (*self.codec.parameters(), *self.phones.parameters()) if p.requires_grad],
            lr=run.learning_rate,
            betas=(0.8, 0.99),
            weight_decay=1e-3,
            fused=True,
        )
        self.disc_adam = torch.optim.AdamW(self.disc.parameters(), lr=3e-4, betas=(0.5, 0.9))
        self.step, self.spent_s = 0, 0.0
        if self._file.exists():
            counters = run_state.load(self._file, self._modules, self._adams, run.device)
            self.step, self.spent_s = int(counters["step"]), counters["spent_s"]
        elif run.start is not None:
            begun = read_mimi(run.start, run.codec, run.codec.num_codebooks, run.device)
            self.codec.load_state_dict(begun.state_dict())
        else:
            if run.codec.vocoder:
                fit(self.codec, (self._batch(n, PLACING) for n in range(run.fit_batches)))
            scale_convolutions(self.codec, self._batch(0, SCALING).wav_BT)
        for book in self._books():
            book.forget()

    @property
    def frozen(self) -> bool:
        """Encoder and codebooks stay as they are: a vocoder's are not learned (analysis.py)."""
        return self.run.codec.vocoder or (
            self.run.frozen_from is not None and self.step >= self.run.frozen_from
        )

    @property
    def coded(self) -> bool:
        """Latents pass codebooks, which were there before the first step or have been placed."""
        return self._begun_with_codes or self.step > self.run.plain_steps

    @property
    def _begun_with_codes(self) -> bool:
        return self.run.start is not None or self.run.codec.vocoder

    @property
    def adversarial(self) -> bool:
        return self.run.adversarial_from is not None and self.step >= self.run.adversarial_from

    def update(self) -> dict[str, float]:
        """One step; the losses it saw."""
        started = time.monotonic()
        if self.step == self.run.plain_steps and not self._begun_with_codes:
            self._place_codebooks()
        batch = self._batch(self.step, TRAINING)
        real_BT = batch.wav_BT
        for group in self.adam.param_groups:
            group["lr"] = self.run.rate(self.step)
        made_BT, semantic_BFE, commitment, pitch = self._through(batch)
        # One resolution of each a step, in turn: all of them are a third of a step's time.
        mel = mel_distance(made_BT, real_BT, RESOLUTIONS[self.step % len(RESOLUTIONS) :][:1])
        window = SPECTRAL_WINDOWS[self.step % len(SPECTRAL_WINDOWS)]
        spectrum = spectral_distance(made_BT, real_BT, [window])
        phones = mel.new_zeros(())  # which a vocoder's first codebook was given to begin with
        if not self.run.codec.vocoder:
            phones = phone_loss(self.phones(semantic_BFE), batch.phones_BFP, batch.labelled_B)
        loss = mel + spectrum + COMMITMENT_WEIGHT * commitment + PHONE_WEIGHT * phones + PITCH_WEIGHT * pitch
        seen = {"mel": mel, "spectrum": spectrum, "commitment": commitment, "phones": phones, "pitch": pitch}
        if self.adversarial:
            seen |= self._teach_discriminator(real_BT, made_BT.detach())
            more, terms = self._please_discriminator(real_BT, made_BT)
            loss, seen = loss + more, seen | terms
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), 1.0)
        self.adam.step()
        self.step += 1
        self.spent_s += time.monotonic() - started
        return {name: float(value.detach()) for name, value in seen.items()}

    def save(self) -> None:
        counters = {"step": self.step, "spent_s": self.spent_s}
        modules = self._modules
        if not self.adversarial:
            del modules["discriminator"]  # it has learned nothing; its size may still change
        run_state.save(self._file, modules, self._adams, counters)

    def publish(self) -> Path:
        """Write the weights as the loader expects them."""
        path = self.run.out / "codec.safetensors"
        write_codec(path, self.codec, torch.float16)
        return path

    def _through(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is heard, the semantic part of the latents, the commitment loss and the pitch's."""
        real_BT = batch.wav_BT
        state = self._open(real_BT)
        # No loss, the phones' included, may reach what makes the codes once they are frozen.
        with torch.set_grad_enabled(not self.frozen):
            with self._half(not self.run.codec.vocoder):  # whose codes are decided in float32
                latents_BFE = self.codec.latents(state, real_BT).float()
            quantized_BFE, semantic_BFE, commitment = self._quantized(latents_BFE)
        decoder, ends = self.codec.decoder, state.decoder.convolutions
        with self._half():
            steps_BTE = self.codec.steps(state, quantized_BFE)
            if not isinstance(decoder, Vocoder):
                made_BT = decoder.push(ends, steps_BTE)[:, :, 0].float()
                return made_BT, semantic_BFE, commitment, made_BT.new_zeros(())
            controls = decoder.controls(ends, steps_BTE)
        pitch = pitch_loss(controls.log_pitch_BN, batch.log_pitch_BN, batch.voiced_BN)
        # Harmonics at a wrong pitch would teach it to whisper, so the recording's own drives it here.
        controls = replace(controls, log_pitch_BN=batch.log_pitch_BN)
        return decoder.render(ends, controls)[:, :, 0], semantic_BFE, commitment, pitch

    def _decoded(self, latents_BFE: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """From all codes in most of the steps, else from the first few."""
        num_used = int(draw_num_used(1, self.run.codec.num_codebooks, generator))
        codes_BKF = self.codec.quantizer.encode(latents_BFE, num_used)
        heard_BFE = self.codec.quantizer.decode(codes_BKF)
        return heard_BFE, heard_BFE, latents_BFE.new_zeros(())

    def _half(self, wanted: bool = True) -> torch.autocast:
        """bfloat16 where the processor multiplies it faster than float32."""
        device = torch.device(self.run.device).type
        return torch.autocast(device, torch.bfloat16, enabled=wanted and multiplies_bfloat16(device))

    def _quantized(self, latents_BFE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.step < self.run.plain_steps and not self._begun_with_codes:
            return latents_BFE, latents_BFE, latents_BFE.new_zeros(())
        generator = torch.Generator().manual_seed(self.run.seed + self.step)
        if self.run.codec.vocoder:
            return self._decoded(latents_BFE, generator)
        num_used_B = draw_num_used(len(latents_BFE), self.run.codec.num_codebooks, generator)
        return quantize(
            self.codec.quantizer, latents_BFE, num_used_B.to(self.run.device), learn=not self.frozen
        )

    def _teach_discriminator(self, real_BT: Tensor, made_BT: Tensor) -> dict[str, Tensor]:
        loss = hinge_discriminator(self.disc(real_BT)[0], self.disc(made_BT)[0])
        self.disc_adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.disc_adam.step()
        return {"discriminator": loss}

    def _please_discriminator(self, real_BT: Tensor, made_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.disc.requires_grad_(False)
        with torch.no_grad():
            _, real_features = self.disc(real_BT)
        scores, made_features = self.disc(made_BT)
        self.disc.requires_grad_(True)
        generator, features = hinge_generator(scores), feature_distance(real_features, made_features)
        loss = ADVERSARIAL_WEIGHT * generator + FEATURE_WEIGHT * features
        return loss, {"generator": generator, "features": features}

    @torch.no_grad()
    def _place_codebooks(self) -> None:
        latents = []
        for index in range(PLACING_BATCHES):
            real_BT = self._batch(index, PLACING).wav_BT
            with self._half():
                latents.append(self.codec.latents(self._open(real_BT), real_BT).float().flatten(0, 1))
        place_codebooks(self.codec.quantizer, torch.cat(latents))

    def _open(self, real_BT: Tensor) -> MimiState:
        """Streams that take the whole batch in one pass."""
        steps = self.run.codec.resample_stride * self.run.clip_frames
        context = self.run.codec.transformer.context if self.run.codec.transformer else 0
        return self.codec.open(len(real_BT), ring=context + steps)

    def _batch(self, number: int, purpose: int) -> Batch:
        rng = np.random.default_rng((self.run.seed, purpose, number))
        batch = self.clips.draw(self.run.clips, self.run.clip_frames, self.run.voice_share, rng)
        return Batch(*(part.to(self.run.device) for part in batch))

    def _books(self) -> Iterator[Codebook]:
        quantizer = self.codec.quantizer
        for branch in (quantizer.rvq_first, quantizer.rvq_rest):
            yield from branch.codebooks(len(branch.vq.layers))

    @property
    def _file(self) -> Path:
        return self.run.out / "checkpoint.safetensors"

    @property
    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"codec": self.codec, "phones": self.phones, "discriminator": self.disc}

    @property
    def _adams(self) -> dict[str, torch.optim.Optimizer]:
        return {"codec": self.adam, "discriminator": self.disc_adam}


def run_codec(run: CodecRun, report: Report) -> dict[str, float]:
    """Train to `run.steps`, reporting held-out figures on the way. A stopped run goes on from its checkpoint.

    Raises CorpusError when `run.data` is not a corpus folder, TrainingDataError for what is not installed.
    """
    measures()  # now, and not after the first hundreds of steps
    training = CodecTraining(run)
    sums: dict[str, float] = {}
    while training.step < run.steps:
        for name, value in training.update().items():
            sums[name] = sums.get(name, 0.0) + value / SHOWN_STEPS
        if training.step % SHOWN_STEPS == 0:
            shown = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            report(f"step {training.step} {shown} s/step {training.spent_s / training.step:.2f}")
            sums = {}
        if training.step % run.checkpoint_steps == 0:
            training.save()
        if training.step % run.report_steps == 0 and training.coded:
            _note(training, report)
    training.save()
    return _note(training, report)


def _note(training: CodecTraining, report: Report) -> dict[str, float]:
    training.publish()
    figures = held_out_figures(training.codec, training.clips)
    note_held_out(training.run.out, training.step, training.spent_s, figures, report)
    return figures
