"""Held-out figures of the voice: cross-entropies in nats on its own sentences that nothing is trained on.

    text       PAD or EPAD, where one of them stands: when does the next word begin?
    audio_K    codebook K, given the codebooks before it and the text so far

Teacher forcing, neutral style, every frame. Not here: what it sounds like (benchmarks/voice.py).
"""

import torch

from generation.train.speech.batches import Batch, Sentences
from generation.train.speech.config import SpeechRun
from generation.train.speech.losses import losses_of
from generation.train.speech.voice import Voice

_AT_ONCE = 16


@torch.no_grad()
def held_out_figures(run: SpeechRun, voice: Voice, sentences: Sentences) -> dict[str, float]:
    """Means over frames."""
    by_length = sorted(sentences.held_out, key=lambda sentence: len(sentence.text_F))
    sums = torch.zeros(1 + run.model.num_spoken, dtype=torch.float64)
    num_frames = 0
    for first in range(0, len(by_length), _AT_ONCE):
        batch = on_device(sentences.batch(by_length[first : first + _AT_ONCE]), run.device)
        losses = losses_of(voice.moshi, voice.conditions(batch.conditions), batch, run)
        assert losses.audio_K is not None
        frames = int(batch.lengths_B.sum())
        sums += frames * torch.cat([losses.text[None], losses.audio_K]).cpu().double()
        num_frames += frames
    text, *audio = (sums / max(1, num_frames)).tolist()
    return {"text": text} | {f"audio_{k}": value for k, value in enumerate(audio, 1)}


def on_device(batch: Batch, device: str) -> Batch:
    """The same batch, its tensors there."""
    return Batch(batch.tokens_BRF.to(device), batch.lengths_B.to(device), batch.conditions)
