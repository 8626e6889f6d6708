"""A whole checkpoint of a few hundred kilobytes: random weights, real frames of 1920 samples, real files.

    python -m tests.generation.tiny FOLDER              # then: earmark serve --model FOLDER
    folder = write_tiny_checkpoint(tmp_path, seed=0)
    Checkpoint.open(folder)                             # and load_moshi, load_mimi, load_tokenizer

Small in width only: 16 audio rows, 8 of them spoken, published delays and ratios. What it says is noise.
"""

import io
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceTrainer

from generation.checkpoints import write_checkpoint
from generation.mimi import Mimi, MimiConfig
from generation.moshi import DepthConfig, Guidance, Moshi, MoshiConfig
from generation.moshi.conditions import Conditions
from generation.streaming import TransformerConfig
from generation.train.speech.config import condition_configs

AUDIO_VOCABULARY = 32
TEXT_VOCABULARY = 312
SENTENCES = (
    "Hello there, how are you today?",
    "I am a very small model, and what I say is noise.",
    "The quick brown fox jumps over the lazy dog while it rains.",
    "One moment please, somebody wants to talk to you.",
)
TINY_MIMI = MimiConfig(
    num_filters=2,
    latent_dim=16,
    transformer=TransformerConfig(
        dim=16,
        num_layers=1,
        num_heads=2,
        feed_forward=32,
        context=250,
        norm="layer_norm",
        gated=False,
        layer_scale=True,
        frame_steps=2,
    ),
    num_codebooks=8,
    codebook_size=AUDIO_VOCABULARY,
    codebook_dim=8,
)
TINY_MOSHI = MoshiConfig(
    temporal=TransformerConfig(dim=32, num_layers=2, num_heads=2, feed_forward=132, context=64),
    depth=DepthConfig(dim=16, num_layers=2, num_heads=2, feed_forward=66),
    text_vocabulary=TEXT_VOCABULARY,
    audio_vocabulary=AUDIO_VOCABULARY,
)


def write_tiny_checkpoint(folder: Path, seed: int = 0, **overrides: Any) -> Path:
    """Write the checkpoint and return the folder. `overrides`: fields of MoshiConfig, and `mimi`, a
    MimiConfig. The same seed and overrides give the same weights."""
    mimi_config = overrides.pop("mimi", TINY_MIMI)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        moshi, mimi = Moshi(replace(TINY_MOSHI, **overrides)), Mimi(mimi_config)
    write_checkpoint(folder, moshi, mimi, tiny_tokenizer())
    return folder


def write_tiny_voice(folder: Path, seed: int = 0, pronunciations: bytes | None = None) -> Path:
    """The same as `earmark train speech` writes it: no user, styles and voices, guided by its text."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = replace(TINY_MOSHI, num_audio=8, delays=TINY_MOSHI.delays[:9])
        moshi, mimi = Moshi(config), Mimi(TINY_MIMI)
        conditions = Conditions(condition_configs(("kathleen", "other")), config.temporal.dim)
    guidance = Guidance(1.5, without_text=True)
    write_checkpoint(
        folder,
        moshi,
        mimi,
        tiny_tokenizer(),
        guidance=guidance,
        conditions=conditions,
        pronunciations=pronunciations,
        dtype=torch.float16,
    )
    return folder


@cache
def tiny_tokenizer() -> bytes:
    """A sentencepiece model with the published special tokens and byte fallback; about 0.2 s."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=TEXT_VOCABULARY,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        minloglevel=2,
    )
    return model.getvalue()


if __name__ == "__main__":
    print(f"{write_tiny_checkpoint(Path(sys.argv[1]))}: a model with random weights")
