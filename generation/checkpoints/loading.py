"""Models from a checkpoint: built on the meta device, then given the file's tensors (weights.py)."""

import torch

from generation.checkpoints.checkpoint import Checkpoint
from generation.checkpoints.names import MIMI_RENAMES, MOSHI_RENAMES, sources
from generation.checkpoints.weights import WeightFile, fill, to
from generation.errors import CheckpointError
from generation.mimi import Mimi
from generation.moshi import Moshi
from generation.moshi.config import TEXT_END, TEXT_PADDING
from generation.text import Text


def load_mimi(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Mimi:
    """The codec in float32, ready to stream, with as many codebooks as the language model uses.

    Raises CheckpointError.
    """
    file = WeightFile(checkpoint.mimi_path)
    with torch.device("meta"):
        mimi = Mimi(checkpoint.mimi, checkpoint.num_codebooks)
    fill(mimi, file, sources(file.keys, MIMI_RENAMES), to(torch.device(device), torch.float32))
    return mimi.prepare()


def load_moshi(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Moshi:
    """The language model, for inference.

    `dtype`: of the weights; None keeps the file's, which on a CPU needs no memory but the file's own.
    Raises CheckpointError.
    """
    file = WeightFile(checkpoint.moshi_path)
    with torch.device("meta"):
        moshi = Moshi(checkpoint.moshi)
    fill(moshi, file, sources(file.keys, MOSHI_RENAMES), to(torch.device(device), dtype))
    if checkpoint.model_type == "hibiki":
        _never_end(moshi)
    return moshi.requires_grad_(False).eval()


@torch.no_grad()
def _never_end(moshi: Moshi) -> None:
    """Hibiki sometimes ends its text too early; as published, it then reads padding and goes on."""
    moshi.text_emb.weight[TEXT_END] = moshi.text_emb.weight[TEXT_PADDING]


def load_tokenizer(checkpoint: Checkpoint) -> Text:
    """The text tokenizer. Raises CheckpointError."""
    text = Text.load(checkpoint.tokenizer_path)
    if text.vocabulary > checkpoint.moshi.text_vocabulary:
        raise CheckpointError(
            f"{checkpoint.tokenizer_path} is of another model: it has {text.vocabulary} tokens, the language"
            f" model knows {checkpoint.moshi.text_vocabulary}"
        )
    return text
