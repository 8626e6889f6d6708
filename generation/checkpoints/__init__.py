"""Published checkpoints: from a folder or the hub to models, and back to files."""

from generation.checkpoints.checkpoint import Checkpoint, Lora
from generation.checkpoints.loading import (
    load_conditions,
    load_mimi,
    load_moshi,
    load_pronunciations,
    load_tokenizer,
    read_mimi,
    usual_conditions,
)
from generation.checkpoints.names import published_state
from generation.checkpoints.source import MINI_VOICE
from generation.checkpoints.writing import write_checkpoint

__all__ = [
    "MINI_VOICE",
    "Checkpoint",
    "Lora",
    "load_conditions",
    "load_mimi",
    "load_moshi",
    "load_pronunciations",
    "load_tokenizer",
    "published_state",
    "read_mimi",
    "usual_conditions",
    "write_checkpoint",
]
