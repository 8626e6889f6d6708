"""Held-out figures of the voice: cross-entropies in nats on sentences and scenes that nothing is trained on.

    text                PAD or EPAD, where one of them stands: when does the next word begin?
    audio_K             codebook K, given the codebooks before it and the text so far
    dialogue_text       all of Moshi's text in conversations, weighted as in training
    dialogue_audio_K    as above, in conversations

Teacher forcing, the voice's own sentences in neutral style, every frame. Not here: what it sounds like
(benchmarks/voice.py), whether it takes turns (benchmarks/converse.py).
"""

from collections.abc import Sequence
from typing import TypeVar

import torch

from generation.train.speech.batches import Batch, Sentences
from generation.train.speech.config import SpeechRun
from generation.train.speech.losses import losses_of
from generation.train.speech.scenes import Scenes
from generation.train.speech.voice import Voice

_AT_ONCE = 16
Item = TypeVar("Item")


def held_out_figures(
    run: SpeechRun, voice: Voice, sentences: Sentences, scenes: Scenes | None = None
) -> dict[str, float]:
    """Means over frames."""
    by_length = sorted(sentences.held_out, key=lambda sentence: len(sentence.text_F))
    figures = _means(run, voice, [sentences.batch(part) for part in _parts(by_length)])
    if scenes is not None:
        batches = [scenes.batch(part) for part in _parts(scenes.held_out)]
        found = _means(run, voice, batches)
        figures |= {f"dialogue_{name}": value for name, value in found.items()}
    return figures


def _parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[first : first + _AT_ONCE] for first in range(0, len(items), _AT_ONCE)]


@torch.no_grad()
def _means(run: SpeechRun, voice: Voice, batches: Sequence[Batch]) -> dict[str, float]:
    sums = torch.zeros(1 + run.model.num_spoken, dtype=torch.float64)
    num_frames = 0
    for given in batches:
        batch = on_device(given, run.device)
        losses = losses_of(voice.moshi, voice.conditions(batch.conditions), batch, run)
        assert losses.audio_K is not None
        frames = int(batch.lengths_B.sum())
        sums += frames * torch.cat([losses.text[None], losses.audio_K]).cpu().double()
        num_frames += frames
    text, *audio = (sums / max(1, num_frames)).tolist()
    return {"text": text} | {f"audio_{k}": value for k, value in enumerate(audio, 1)}


def on_device(batch: Batch, device: str) -> Batch:
    """The same batch, its tensors there."""
    return batch._replace(tokens_BRF=batch.tokens_BRF.to(device), lengths_B=batch.lengths_B.to(device))
