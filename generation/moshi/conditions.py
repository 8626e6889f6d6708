"""What a stream is told besides tokens: one vector for each row, added to every input of the temporal
transformer.

    c = sum over conditions of  project(vector),  a learnt vector where the condition is not given

A `lut` condition is one of a few values, each with a vector; a `tensor` condition is such a vector itself.
Kept in float32, as published.
Dimension key: B rows, E embedding width of the language model, D width of a condition.
Source: kyutai-labs/moshi@e6a55d2, conditioners/. Not here: conditions by cross-attention (the published TTS
models) and prepended ones.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generation.moshi.embedding import Embedding
from generation.streaming.linear import Linear
from generation.streaming.typed import Identity, Map

ConditionValue = str | Tensor | None


@dataclass(frozen=True)
class ConditionConfig:
    """One condition. `num_values` None: the caller gives the vector."""

    dim: int
    num_values: int | None = None
    values: tuple[str, ...] | None = None  # None: any text, by its hash
    learnt_default: bool = True
    projected: bool = True


class Condition(nn.Module):
    """Maps a value to a vector of the language model; parameters carry their published names."""

    def __init__(self, config: ConditionConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        if config.num_values is not None:
            self.embed = Embedding(config.num_values + 1, config.dim)  # the last one is never read
        self.output_proj: Map = Linear(config.dim, dim) if config.projected else Identity()
        self.learnt_padding = nn.Parameter(torch.zeros(1, 1, dim)) if config.learnt_default else None

    def forward(self, value: ConditionValue, like_1E: Tensor) -> Tensor:
        """[E]. Raises ValueError for a value that the condition does not have."""
        if value is None:
            return torch.zeros_like(like_1E[0]) if self.learnt_padding is None else self.learnt_padding[0, 0]
        if self.config.num_values is None:
            if not isinstance(value, Tensor) or value.shape != (self.config.dim,):
                raise ValueError(f"this condition is a vector of {self.config.dim} numbers")
            return self.output_proj(value.to(like_1E))
        number = torch.tensor(self._number(value, self.config.num_values), device=like_1E.device)
        return self.output_proj(self.embed(number))

    def _number(self, value: str | Tensor, num_values: int) -> int:
        if not isinstance(value, str):
            raise ValueError("this condition is a text")
        if self.config.values is None:
            return int.from_bytes(hashlib.sha256(value.encode()).digest()) % num_values
        if value not in self.config.values:
            raise ValueError(f"this condition is one of {', '.join(self.config.values)}, not {value!r}")
        return self.config.values.index(value)


class Conditions(nn.Module):
    """All conditions of a model, by name."""

    def __init__(self, configs: Mapping[str, ConditionConfig], dim: int) -> None:
        super().__init__()
        self.configs, self.dim = dict(configs), dim
        self.conditioners = nn.ModuleDict({name: Condition(config, dim) for name, config in configs.items()})

    def forward(self, rows: Sequence[Mapping[str, ConditionValue]]) -> Tensor:
        """The vector of each row, float32 [B, 1, E], for `Stepper`. A condition that a row does not name is
        not given. Raises ValueError for unknown names and values."""
        like_1E = next(self.parameters()).new_zeros(1, self.dim)
        return torch.stack([self._row(row, like_1E)[None] for row in rows])

    def _row(self, row: Mapping[str, ConditionValue], like_1E: Tensor) -> Tensor:
        if unknown := row.keys() - set(self.conditioners):
            raise ValueError(f"the model has no condition {', '.join(sorted(unknown))}")
        vectors = [one(row.get(name), like_1E) for name, one in self.conditioners.items()]
        return torch.stack(vectors).sum(dim=0)
