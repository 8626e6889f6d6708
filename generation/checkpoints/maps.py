"""The linear maps of a model, to be replaced by maps of another kind.

Source: kyutai-labs/moshi@e6a55d2, where int8 weights take every linear map, and LoRA any.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from generation.streaming.attention import Attention
from generation.streaming.int8 import Int8Linear
from generation.streaming.linear import Linear


@dataclass(frozen=True)
class Place:
    """A linear map of a model, and the module that holds it."""

    name: str
    parent: nn.Module
    attribute: str
    linear: Linear
    num_sets: int

    def put(self, module: nn.Module) -> None:
        """Set another map there."""
        setattr(self.parent, self.attribute, module)


def linear_maps(model: nn.Module) -> Iterator[Place]:
    """Every plain linear map, at most once; they may be replaced meanwhile."""
    for name, parent in list(model.named_modules()):
        num_sets = parent.num_weights if isinstance(parent, Attention) else 1
        for attribute, child in list(parent.named_children()):
            if type(child) is Linear:
                yield Place(f"{name}.{attribute}".lstrip("."), parent, attribute, child, num_sets)


def make_int8(model: nn.Module, dtype: torch.dtype) -> None:
    """Put an `Int8Linear` without memory in place of each linear map. `dtype`: of the activations."""
    for place in linear_maps(model):
        num_out, num_in = place.linear.weight.shape
        with torch.device("meta"):
            place.put(Int8Linear(num_in, num_out, dtype))
