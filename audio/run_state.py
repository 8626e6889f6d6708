"""What a training run goes on from: one safetensors file, never half written.

    CHECKPOINT   `module.NAME.KEY`, `adam.NAME.INDEX.KEY`, and the counters as JSON in the file's metadata

A crash while it is written leaves the checkpoint before it (durable.py). Imports torch; `import audio` alone
does not.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from audio.durable import write_durably

Counters = dict[str, float]


def save(
    path: Path,
    modules: Mapping[str, nn.Module],
    adams: Mapping[str, torch.optim.Optimizer],
    counters: Counters,
) -> None:
    """Write everything that `load` needs; the same names must be given there."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"module.{name}.{key}": value.contiguous() for key, value in module.state_dict().items()}
    for name, adam in adams.items():
        for index, state in adam.state_dict()["state"].items():
            tensors |= {f"adam.{name}.{index}.{key}": value.contiguous() for key, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = serialize(tensors, {"counters": json.dumps(counters)})
    write_durably(path, lambda file: file.write(content))


def load(
    path: Path, modules: Mapping[str, nn.Module], adams: Mapping[str, torch.optim.Optimizer], device: str
) -> Counters:
    """Put a saved run back. A module or optimiser that the file does not know stays as it is: a later stage
    may add one."""
    with safe_open(path, "pt") as file:
        counters: Counters = json.loads(file.metadata()["counters"])
    tensors = load_file(path, device=device)
    for name, module in modules.items():
        state = _under(tensors, f"module.{name}.")
        if state:
            module.load_state_dict(state)
    for name, adam in adams.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, f"adam.{name}.").items():
            index, _, entry = key.partition(".")
            moments.setdefault(int(index), {})[entry] = value
        if moments:
            groups = adam.state_dict()["param_groups"]
            adam.load_state_dict({"state": moments, "param_groups": groups})
    return counters


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
