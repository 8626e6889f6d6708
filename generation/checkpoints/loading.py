"""Models from a checkpoint: built on the meta device, then given the file's tensors (weights.py).

(1) build the model without memory; (2) compare its keys and shapes with the file's; (3) take the LoRA change;
(4) make room for int8 weights; (5) tensor by tensor: read, move and cast, change, round; (6) hand them over.
"""

from pathlib import Path

import torch
from torch import Tensor

from generation.checkpoints.checkpoint import Checkpoint
from generation.checkpoints.conditions import PREFIX as CONDITIONS
from generation.checkpoints.conditions import USUAL, Usual
from generation.checkpoints.lora import Change
from generation.checkpoints.maps import linear_maps, make_int8
from generation.checkpoints.names import MIMI_RENAMES, MOSHI_RENAMES, Source, sources
from generation.checkpoints.weights import WeightFile, check, to
from generation.errors import CheckpointError
from generation.mimi import Mimi, MimiConfig
from generation.moshi import Moshi
from generation.moshi.conditions import Conditions
from generation.moshi.config import TEXT_END, TEXT_PADDING
from generation.pronunciation import Pronunciations
from generation.streaming.int8 import quantize
from generation.text import Text


def load_mimi(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Mimi:
    """The codec in float32, ready to stream, with as many codebooks as the language model uses.

    Raises CheckpointError.
    """
    return read_mimi(checkpoint.mimi_path, checkpoint.mimi, checkpoint.num_codebooks, device)


def read_mimi(path: Path, config: MimiConfig, num_codebooks: int, device: torch.device | str = "cpu") -> Mimi:
    """A codec from its file alone, as `load_mimi`. Raises CheckpointError."""
    file = WeightFile(path)
    found = sources(file.keys, MIMI_RENAMES)
    with torch.device("meta"):
        mimi = Mimi(config, num_codebooks)
    check(file, found, mimi)
    convert = to(torch.device(device), torch.float32)
    state = {name: convert(name, source.read(file)) for name, source in found.items()}
    mimi.load_state_dict(state, assign=True)
    return mimi.prepare()


def load_moshi(
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    int8: bool = False,
    fuse_lora: bool = True,
) -> Moshi:
    """The language model, for inference.

    `dtype`: of the weights; None keeps the file's, which on a CPU needs no memory but the file's own.
    `int8`: round the weights of linear maps; those of an int8 checkpoint are rounded anyway. `fuse_lora`: add
    the LoRA change to the weights, as int8 needs it; else keep it beside them. Raises CheckpointError.
    """
    if int8 and not fuse_lora:
        raise ValueError("int8 weights take a LoRA change in, they cannot keep it beside them")
    file = WeightFile(checkpoint.moshi_path)
    file.read_ahead()
    found = sources((key for key in file.keys if not key.startswith(CONDITIONS)), MOSHI_RENAMES)
    with torch.device("meta"):
        moshi = Moshi(checkpoint.moshi)  # (1)
    if checkpoint.int8:
        make_int8(moshi, dtype or file.dtype)
    check(file, found, moshi)  # (2)
    state: dict[str, Tensor] = {}
    convert = to(torch.device(device), dtype)
    if checkpoint.lora is not None:
        change = Change.load(checkpoint.lora, moshi)  # (3)
        if not fuse_lora:
            state |= change.attach(moshi, convert)
        convert = change.applied(convert, fuse_lora)
    rounded = {place.name for place in linear_maps(moshi)} if int8 else set()
    if int8:
        make_int8(moshi, dtype or file.dtype)  # (4)
    for name, source in found.items():  # (5)
        state[name] = convert(name, source.read(file))
        if name.removesuffix(".weight") in rounded:
            state[name], state[name + "_scb"] = quantize(state[name])
    moshi.load_state_dict(state, assign=True)  # (6)
    if checkpoint.model_type == "hibiki":
        _never_end(moshi)
    return moshi.requires_grad_(False).eval()


def load_conditions(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Conditions | None:
    """What turns conditions into vectors, in float32; None for a model that takes none.

    Raises CheckpointError.
    """
    if not checkpoint.conditions:
        return None
    file = WeightFile(checkpoint.moshi_path)
    keys = {key.removeprefix(CONDITIONS): key for key in file.keys if key.startswith(CONDITIONS)}
    with torch.device("meta"):
        conditions = Conditions(checkpoint.conditions, checkpoint.moshi.temporal.dim)
    found = {name: Source((key,)) for name, key in keys.items()}
    check(file, found, conditions)
    convert = to(torch.device(device), torch.float32)
    state = {name: convert(name, source.read(file)) for name, source in found.items()}
    conditions.load_state_dict(state, assign=True)
    return conditions.requires_grad_(False).eval()


def usual_conditions(checkpoint: Checkpoint, conditions: Conditions, batch_size: int) -> Tensor:
    """What the published program tells a model of this type: [B, 1, E], and [2 B, 1, E] with guidance.

    A model that lists the values of its conditions is told the first of each, also where it is guided away
    from. Raises CheckpointError for conditions that have neither.
    """
    usual = USUAL.get(checkpoint.model_type)
    if usual is None:
        first = {name: one.values[0] for name, one in conditions.configs.items() if one.values}
        usual = Usual(first, first) if first.keys() == conditions.configs.keys() else None
    if usual is None:
        raise CheckpointError(
            f"{checkpoint.label} needs conditions ({', '.join(checkpoint.conditions)}), and there are no"
            f" usual ones for models of type {checkpoint.model_type}: give them"
        )
    rows = [usual.given] * batch_size
    vectors: Tensor = conditions(rows if checkpoint.guidance is None else rows + [usual.null] * batch_size)
    return vectors


@torch.no_grad()
def _never_end(moshi: Moshi) -> None:
    """Hibiki sometimes ends its text too early; as published, it then reads padding and goes on."""
    moshi.text_emb.weight[TEXT_END] = moshi.text_emb.weight[TEXT_PADDING]


def load_pronunciations(checkpoint: Checkpoint) -> Pronunciations:
    """Of words that are said by their phones; most models have none. Raises CheckpointError."""
    path = checkpoint.pronunciations_path
    return Pronunciations({}) if path is None else Pronunciations.load(path)


def load_tokenizer(checkpoint: Checkpoint) -> Text:
    """The text tokenizer. Raises CheckpointError."""
    text = Text.load(checkpoint.tokenizer_path)
    if text.vocabulary > checkpoint.moshi.text_vocabulary:
        raise CheckpointError(
            f"{checkpoint.tokenizer_path} is of another model: it has {text.vocabulary} tokens, the language"
            f" model knows {checkpoint.moshi.text_vocabulary}"
        )
    return text
