"""The published package as an oracle: its code with random weights, and the same weights in ours.

oracle = pytest.importorskip("moshi.models", reason=…)        # `make setup` installs it without its pins
copy_weights(theirs, ours, MIMI_RENAMES)
"""

import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generation.checkpoints.names import Renames, sources

REASON = "the `moshi` package is not installed: `make setup` brings it"


class _State:
    """The package's tensors, as `generation.checkpoints.names` reads a file's."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors: dict[str, Tensor] = module.state_dict()

    def read(self, key: str) -> Tensor:
        return self.tensors[key]

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.tensors[key].shape)


@torch.no_grad()
def copy_weights(theirs: nn.Module, ours: nn.Module, renames: Renames) -> None:
    """Give ours the weights of theirs; every tensor of either must have its place."""
    state = _State(theirs)
    found = sources(state.tensors, renames)
    ours.load_state_dict({name: source.read(state) for name, source in found.items()})


@torch.no_grad()
def randomize(module: nn.Module, std: float, seed: int) -> None:
    """Weights under which every part of the network matters: the initial ones leave some near zero."""
    torch.manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("embedding_sum"):
            tensor.normal_()
        elif "layer_scale" in name:
            tensor.uniform_(0.2, 0.4)
        elif tensor.dim() > 1 and std:
            tensor.normal_(std=std)


def models(*, compiled: bool = False) -> tuple[Any, Any]:
    """The package's `models.loaders` and `models.lm`, or a skip with the reason.

    Not `compiled`: without its compiler, which takes longer than the tests and changes no result. The first
    call decides."""
    if not compiled:
        os.environ["NO_TORCH_COMPILE"] = "1"
    loaders = pytest.importorskip("moshi.models.loaders", reason=REASON)
    return loaders, pytest.importorskip("moshi.models.lm", reason=REASON)
