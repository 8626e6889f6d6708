"""The losses of a batch: text, and each codebook of the speech.

    loss = text + (semantic_weight audio_1 + audio_2 + … + audio_K) / (semantic_weight + K - 1)

Text tokens that hold no text (PAD, EPAD) have `padding_weight`; in the say stage the others have none, since
words are given and only their times are the model's. Cross-entropies in nats.
Source: kyutai-labs/moshi-finetune, whose weights are 100 and 0.5; ours: docs/LOG.md. Dimension key: B
sentences, F frames, N frames of all of them, R rows of a frame's tokens, K codebooks, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generation.moshi import Moshi
from generation.moshi.config import SILENT_TEXT, ZERO_TOKEN
from generation.moshi.teaching import delayed, hear, speak
from generation.train.speech.batches import Batch
from generation.train.speech.config import SpeechRun, Stage


class Losses(NamedTuple):
    """Scalars but for the codebooks'."""

    text: Tensor
    audio_K: Tensor | None  # None in the text stage

    def total(self, semantic_weight: float) -> Tensor:
        """What is trained on."""
        if self.audio_K is None:
            return self.text
        weights_K = torch.ones_like(self.audio_K)
        weights_K[0] = semantic_weight
        return self.text + (weights_K * self.audio_K).sum() / weights_K.sum()


class Corruption(NamedTuple):
    """What the model does not get to see as it was."""

    hidden_B: Tensor  # bool; sentences whose text is not heard
    noisy_BF: Tensor  # bool; frames that are heard as others of the batch

    @classmethod
    def draw(cls, run: SpeechRun, batch: Batch, generator: torch.Generator) -> "Corruption":
        """In the text stage there is nothing but text, which is then always heard."""
        B, _, F = batch.tokens_BRF.shape
        return cls(
            torch.rand(B, generator=generator) < (0.0 if batch.stage is Stage.TEXT else run.text_drop),
            torch.rand(B, F, generator=generator) < run.noise * torch.rand(B, 1, generator=generator),
        )


def losses_of(
    model: Moshi,
    condition_B1E: Tensor,
    batch: Batch,
    run: SpeechRun,
    corruption: Corruption | None = None,
    chosen_BF: Tensor | None = None,
) -> Losses:
    """`chosen_BF` (bool): frames that the depth transformer sees, None for all. Tensors lie on one device."""
    inputs_BRF, spoken_BRF = delayed(model.config, batch.tokens_BRF)
    if corruption is not None:
        inputs_BRF = _corrupted(inputs_BRF, model.config.text_initial, corruption)
    z_BFE, text_logits_BFV = hear(model, inputs_BRF, condition_B1E)
    inside_BF = torch.arange(inputs_BRF.shape[2], device=inputs_BRF.device) < batch.lengths_B[:, None]
    told_BF = inside_BF if corruption is None else inside_BF & ~corruption.hidden_B[:, None]
    text = _text_loss(text_logits_BFV, spoken_BRF[:, 0], told_BF, run.padding_weight, batch.stage)
    if batch.stage is Stage.TEXT:
        return Losses(text, None)
    seen_BF = inside_BF if chosen_BF is None else inside_BF & chosen_BF
    spoken_NR = spoken_BRF.transpose(1, 2)[seen_BF]
    logits_KNV = speak(model, z_BFE[seen_BF], spoken_NR)
    target_KN = spoken_NR[:, 1:].t()
    # A delayed row says nothing in the first frames: the initial token is no target.
    target_KN = target_KN.masked_fill(target_KN == model.config.audio_initial, ZERO_TOKEN)
    each_KN = functional.cross_entropy(  # of rows that lie together: a third of the step's time otherwise
        logits_KNV.flatten(0, 1), target_KN.flatten(), ignore_index=ZERO_TOKEN, reduction="none"
    ).view_as(target_KN)
    return Losses(text, each_KN.sum(1) / (target_KN != ZERO_TOKEN).sum(1).clamp(min=1))


def _text_loss(
    logits_BFV: Tensor, text_BF: Tensor, told_BF: Tensor, padding_weight: float, stage: Stage
) -> Tensor:
    silent_BF = (text_BF == SILENT_TEXT[0]) | (text_BF == SILENT_TEXT[1])
    word_weight = 0.0 if stage is Stage.SAY else 1.0
    weight_BF = torch.where(silent_BF, padding_weight, word_weight) * told_BF
    counted_BF = weight_BF > 0
    each_N = functional.cross_entropy(logits_BFV[counted_BF], text_BF[counted_BF], reduction="none")
    weight_N = weight_BF[counted_BF]
    return (each_N * weight_N).sum() / weight_N.sum().clamp(min=1e-6)


def _corrupted(inputs_BRF: Tensor, text_initial: int, corruption: Corruption) -> Tensor:
    """The inputs with text hidden in some rows, and some frames' speech as of another frame."""
    text_BF, audio_BRF = inputs_BRF[:, 0], inputs_BRF[:, 1:]
    hide_BF = corruption.hidden_B[:, None] & (text_BF != text_initial)
    text_BF = text_BF.masked_fill(hide_BF, ZERO_TOKEN)
    others_BRF = audio_BRF.roll(1, dims=0).flip(2)
    audio_BRF = torch.where(corruption.noisy_BF[:, None], others_BRF, audio_BRF)
    return torch.cat([text_BF[:, None], audio_BRF], dim=1)
