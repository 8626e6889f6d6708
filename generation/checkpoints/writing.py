"""A checkpoint folder in the published layout, which our loader and the published code both read.

    folder/model.safetensors  tokenizer-….safetensors  tokenizer_….model  mimi_config.json  config.json

config.json is removed first and written last, each file under another name until it is whole: a crash leaves
the old checkpoint, or a folder without config.json, whose weights fit nothing then and are refused.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from generation.checkpoints.checkpoint import CONFIG_NAME, MIMI_NAME, MOSHI_NAME, TOKENIZER_NAME
from generation.checkpoints.mimi_config import published_mimi
from generation.checkpoints.moshi_config import published_moshi
from generation.checkpoints.names import published_state
from generation.mimi import Mimi
from generation.moshi import Moshi, Sampling

MIMI_CONFIG_NAME = "mimi_config.json"


def write_checkpoint(
    folder: Path, moshi: Moshi, mimi: Mimi, tokenizer: bytes, sampling: Sampling | None = None
) -> None:
    """Write both models and the tokenizer (the bytes of a sentencepiece model). Replaces what is there.

    `sampling`: what generation uses unless told otherwise. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    _write_weights(folder / MOSHI_NAME, moshi)
    _write_weights(folder / MIMI_NAME, mimi)
    _write(folder / TOKENIZER_NAME, tokenizer)
    _write_json(folder / MIMI_CONFIG_NAME, published_mimi(mimi.config))
    names = {
        "model_type": "moshi",
        "moshi_name": MOSHI_NAME,
        "mimi_name": MIMI_NAME,
        "mimi_config_name": MIMI_CONFIG_NAME,
        "tokenizer_name": TOKENIZER_NAME,
        "lm_gen_config": _published_sampling(sampling or Sampling()),
    }
    _write_json(folder / CONFIG_NAME, names | published_moshi(moshi.config))


def _published_sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "temp": sampling.temperature,
        "temp_text": sampling.text_temperature,
        "top_k": sampling.top_k,
        "top_k_text": sampling.text_top_k,
    }


def _write_weights(path: Path, model: nn.Module) -> None:
    partial = path.with_suffix(".partial")
    save_file(published_state(model), partial, metadata={"format": "pt"})
    partial.replace(path)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    _write(path, (json.dumps(values, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
