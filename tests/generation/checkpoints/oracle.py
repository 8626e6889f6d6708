"""The published code with random weights, saved as published files: what our loader must read.

`moshi` is no dependency of ours; `make setup` installs it beside the tests. The attention weights are saved
stacked and under the published files' names, which the package itself renames when it loads.
"""

import json
import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from generation.checkpoints.checkpoint import MIMI_NAME, MOSHI_NAME, TOKENIZER_NAME
from tests.generation.tiny import TEXT_VOCABULARY, tiny_tokenizer

os.environ["NO_TORCH_COMPILE"] = "1"  # its compiler takes longer than the tests and changes no result
loaders = pytest.importorskip("moshi.models.loaders", reason="the moshi package is not installed")
lora = pytest.importorskip("moshi.modules.lora", reason="the moshi package is not installed")

LM: dict[str, Any] = {
    "dim": 32,
    "text_card": TEXT_VOCABULARY,
    "existing_text_padding_id": 3,
    "n_q": 16,
    "dep_q": 8,
    "card": 32,
    "num_heads": 4,
    "num_layers": 2,
    "hidden_scale": 4.125,
    "causal": True,
    "layer_scale": None,
    "context": 12,
    "max_period": 10000,
    "gating": "silu",
    "norm": "rms_norm_f32",
    "positional_embedding": "rope",
    "depformer_dim": 16,
    "depformer_dim_feedforward": 66,
    "depformer_num_heads": 2,
    "depformer_num_layers": 2,
    "depformer_causal": True,
    "depformer_layer_scale": None,
    "depformer_multi_linear": True,
    "depformer_context": 8,
    "depformer_max_period": 10000,
    "depformer_gating": "silu",
    "depformer_pos_emb": "none",
    "depformer_weights_per_step": True,
    "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
}
MIMI: dict[str, Any] = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": loaders._seanet_kwargs | {"n_filters": 2, "dimension": 16},
    "quantizer": {"dimension": 8, "n_q": 8, "bins": 32, "input_dimension": 16, "output_dimension": 16},
    "transformer": loaders._transformer_kwargs
    | {
        "d_model": 16,
        "num_heads": 2,
        "num_layers": 2,
        "dim_feedforward": 32,
        "input_dimension": 16,
        "output_dimensions": [16],
        "layer_scale": 0.5,
    },
}


def new_lm(fields: dict[str, Any], seed: int = 0) -> Any:
    """The package's language model of this config.json, in float32."""
    torch.manual_seed(seed)
    # A copy, since the package writes into the fields.
    model = loaders.get_moshi_lm(None, lm_kwargs=deepcopy(fields), dtype=torch.float32)
    for name, tensor in model.named_parameters():
        if "norm" in name:  # ones would hide a forgotten factor
            tensor.data.uniform_(0.5, 1.5)
    return model


def new_mimi(seed: int = 0) -> Any:
    """The package's codec of the configuration above."""
    torch.manual_seed(seed)
    model = loaders.get_mimi(None, MIMI)
    for name, tensor in model.state_dict().items():
        if name.endswith("embedding_sum"):
            tensor.normal_()
        elif name.endswith("cluster_usage"):
            tensor.uniform_(0.5, 2.0)
        elif name.endswith("_initialized"):
            tensor.fill_(1)
    return model


def published(model: torch.nn.Module) -> dict[str, Tensor]:
    """Its weights as the published files spell them: sets of projections stacked, `in_proj_weight`."""
    state: dict[str, list[Tensor]] = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"\.in_projs\.\d+\.weight", ".in_proj_weight", name)
        name = re.sub(r"\.out_projs\.\d+\.", ".out_proj.", name)
        state.setdefault(name, []).append(tensor)
    return {name: torch.cat(parts) if len(parts) > 1 else parts[0].clone() for name, parts in state.items()}


def write(folder: Path, fields: dict[str, Any], lm: torch.nn.Module, mimi: torch.nn.Module) -> Path:
    """A checkpoint folder of both."""
    folder.mkdir(exist_ok=True)
    save_file(published(lm), folder / MOSHI_NAME)
    save_file(published(mimi), folder / MIMI_NAME)
    (folder / TOKENIZER_NAME).write_bytes(tiny_tokenizer())
    (folder / "mimi_config.json").write_text(json.dumps(MIMI))
    (folder / "config.json").write_text(json.dumps({"mimi_config_name": "mimi_config.json", **fields}))
    return folder
