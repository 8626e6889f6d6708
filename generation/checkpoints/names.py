"""Key spellings: what published files call a tensor, and what it is called here.

Loading: each published key passes the renames in order. Where several keys arrive at one name, they are
parts of it: the sets of a projection, numbered, which are stacked on the first dimension, or the two halves
of a weight norm, which are multiplied out. `published_state` is the inverse and writes the one spelling that
the published files have.

    Mimi                                        here
      encoder.model.0.conv.conv.weight            encoder.model.0.weight
      downsample.conv.conv.conv.weight            downsample.weight
      (...)._codebook.embed_sum                   (...)._codebook.embedding_sum
      (...).weight_v, (...).weight_g              (...).weight
    both
      (...).self_attn.in_proj_weight              (...).self_attn.in_proj.weight
      (...).self_attn.in_projs.{i}.weight         rows of set i of (...).self_attn.in_proj.weight
      (...).self_attn.out_projs.{i}.weight        rows of set i of (...).self_attn.out_proj.weight
      (...)_scb, (...).lora_A.weight              as the weight beside them

Source: kyutai-labs/moshi@e6a55d2, the hooks in modules/transformer.py and quantization/core_vq.py, and the
keys of the published files. Not here: the layouts for MLX and Rust, which are other files.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from generation.errors import CheckpointError
from generation.streaming import CausalConv, CausalConvTranspose

Renames = tuple[tuple[str, str], ...]

MOSHI_RENAMES: Renames = (
    (r"\.in_proj_weight", ".in_proj.weight"),
    (r"\.frozen_W\.weight$", ".weight"),  # a LoRA model that was saved whole
)
MIMI_RENAMES: Renames = (
    *MOSHI_RENAMES,
    (r"(\.conv|\.convtr)+(?=\.)", ""),
    (r"\._codebook\.inited$", "._codebook._initialized"),
    (r"\._codebook\.cluster_size$", "._codebook.cluster_usage"),
    (r"\._codebook\.embed_(avg|sum)$", "._codebook.embedding_sum"),
)
_SET = re.compile(r"(.*\.(?:in|out)_proj)s\.(\d+)(\..*)")
_WEIGHT_NORM = re.compile(r"(.*)_([vg])")


class Tensors(Protocol):
    """Tensors by their published keys, and their shapes without reading them."""

    def read(self, key: str) -> Tensor: ...

    def shape(self, key: str) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Source:
    """Where one of our tensors comes from: one key, several to be stacked, or a weight norm's v and g."""

    keys: tuple[str, ...]
    weight_norm: bool = False

    def shape(self, tensors: Tensors) -> tuple[int, ...]:
        """The shape it will have."""
        first, *rest = (tensors.shape(key) for key in self.keys)
        if self.weight_norm or not rest:
            return first
        return (first[0] + sum(shape[0] for shape in rest), *first[1:])

    def read(self, tensors: Tensors) -> Tensor:
        """The tensor: the file's own memory where nothing has to be put together."""
        first, *rest = (tensors.read(key) for key in self.keys)
        if self.weight_norm:
            return _fold(first, rest[0])
        return torch.cat([first, *rest]) if rest else first


def sources(keys: Iterable[str], renames: Renames) -> dict[str, Source]:
    """Our name of everything in a file with these keys. Raises CheckpointError where two keys give one."""
    parts: dict[str, dict[int | str, str]] = {}
    for key in keys:
        name, part = _name(key, renames)
        if part in parts.setdefault(name, {}):
            raise CheckpointError(f"{key} and {parts[name][part]} are the same tensor twice: {name}")
        parts[name][part] = key
    return {name: _source(name, by_part) for name, by_part in parts.items()}


def _name(key: str, renames: Renames) -> tuple[str, int | str]:
    """Our name of a published key, and which part of that tensor it is."""
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    if match := _SET.fullmatch(key):
        return match[1] + match[3], int(match[2])
    if match := _WEIGHT_NORM.fullmatch(key):
        return match[1], match[2]
    return key, 0


def _source(name: str, by_part: Mapping[int | str, str]) -> Source:
    if set(by_part) == {"v", "g"}:
        return Source((by_part["v"], by_part["g"]), weight_norm=True)
    if set(by_part) != set(range(len(by_part))):
        raise CheckpointError(f"{name} is there in parts that make no whole: {', '.join(by_part.values())}")
    return Source(tuple(by_part[index] for index in range(len(by_part))))


def _fold(v: Tensor, g: Tensor) -> Tensor:
    """`g v / |v|`, the norm over all dimensions but the first (Salimans and Kingma, 2016)."""
    norm = v.flatten(1).norm(dim=1).view(-1, *([1] * (v.dim() - 1)))
    folded: Tensor = v * (g.view(norm.shape) / norm)
    return folded


def published_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a `Mimi` or `Moshi` under their published keys; no copies of what needs none."""
    paths = {name: name + _conv_path(name, module) for name, module in model.named_modules()}
    state = {}
    for name, tensor in model.state_dict().items():
        module, _, attribute = name.rpartition(".")
        key = f"{paths[module]}.{attribute}"
        key = key.replace("self_attn.in_proj.weight", "self_attn.in_proj_weight")
        state[key] = tensor.detach().contiguous()
    return state


def _conv_path(name: str, module: nn.Module) -> str:
    depth = 3 if name in ("downsample", "upsample") else 2
    if isinstance(module, CausalConv):
        return ".conv" * depth
    return ".convtr" * depth if isinstance(module, CausalConvTranspose) else ""
