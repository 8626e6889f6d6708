"""A checkpoint folder in the published layout, which our loader and the published code both read.

    folder/model.safetensors  codec.safetensors  tokenizer.model  mimi_config.json  config.json
    folder/pronunciations.xz  where words are said by their phones; the published code does not read it

config.json is removed first and written last, each file under another name until it is whole: a crash leaves
the old checkpoint, or a folder without config.json, whose weights fit nothing then and are refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize
from safetensors.torch import save_file
from torch import Tensor

from audio.durable import write_durably
from generation.checkpoints.checkpoint import CONFIG_NAME, MOSHI_NAME
from generation.checkpoints.conditions import PREFIX, published_conditions
from generation.checkpoints.mimi_config import published_mimi
from generation.checkpoints.moshi_config import published_moshi
from generation.checkpoints.names import published_state
from generation.mimi import Mimi
from generation.moshi import Guidance, Moshi, Sampling
from generation.moshi.conditions import Conditions

CODEC_NAME = "codec.safetensors"
CODEC_CONFIG_NAME = "mimi_config.json"
TOKENIZER_NAME = "tokenizer.model"
PRONUNCIATIONS_NAME = "pronunciations.xz"


def write_checkpoint(
    folder: Path,
    moshi: Moshi,
    mimi: Mimi,
    tokenizer: bytes,
    sampling: Sampling | None = None,
    *,
    guidance: Guidance | None = None,
    conditions: Conditions | None = None,
    pronunciations: bytes | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write both models and the tokenizer (the bytes of a sentencepiece model). Replaces what is there.
    `pronunciations`: the bytes of a table (generation/pronunciation.py).

    `sampling` and `guidance`: what generation uses unless told otherwise; `conditions` go into the language
    model's file; `dtype` of all weights, None: as they are. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    weights = published_state(moshi)
    if conditions is not None:
        weights |= {PREFIX + name: value.contiguous() for name, value in conditions.state_dict().items()}
    _write_weights(folder / MOSHI_NAME, weights, dtype)
    _write_weights(folder / CODEC_NAME, published_state(mimi), dtype)
    _write(folder / TOKENIZER_NAME, tokenizer)
    _write_json(folder / CODEC_CONFIG_NAME, published_mimi(mimi.config))
    names = {
        "model_type": "moshi",
        "moshi_name": MOSHI_NAME,
        "mimi_name": CODEC_NAME,
        "mimi_config_name": CODEC_CONFIG_NAME,
        "tokenizer_name": TOKENIZER_NAME,
        "lm_gen_config": _published_sampling(sampling or Sampling()) | _published_guidance(guidance),
    }
    if conditions is not None:
        names |= published_conditions(conditions)
    if pronunciations is not None:
        _write(folder / PRONUNCIATIONS_NAME, pronunciations)
        names["tts_config"] = {"pronunciations_name": PRONUNCIATIONS_NAME}
    _write_json(folder / CONFIG_NAME, names | published_moshi(moshi.config))


def write_codec(path: Path, mimi: Mimi, dtype: torch.dtype | None = None) -> None:
    """A codec alone, as the published ones: its weights, and nothing of its sizes. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = published_state(mimi)
    content = serialize(
        {name: value if dtype is None else value.to(dtype) for name, value in weights.items()}
    )
    write_durably(path, lambda file: file.write(content))


def _published_sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "temp": sampling.temperature,
        "temp_text": sampling.text_temperature,
        "top_k": sampling.top_k,
        "top_k_text": sampling.text_top_k,
    }


def _published_guidance(guidance: Guidance | None) -> dict[str, Any]:
    if guidance is None:
        return {}
    masked = {} if guidance.masked_frames is None else {"cfg_is_masked_until": [guidance.masked_frames]}
    return {"cfg_coef": guidance.coefficient, "cfg_is_no_text": guidance.without_text} | masked


def _write_weights(path: Path, weights: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    partial = path.with_suffix(".partial")
    tensors = {name: value if dtype is None else value.to(dtype) for name, value in weights.items()}
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(path)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    _write(path, (json.dumps(values, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
