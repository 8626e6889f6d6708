"""States of streams: dataclasses of tensors whose first dimension is the batch row.

The contract that makes one `reset_rows` serve every state: **a row at its beginning is all zeros**. Fields
are tensors, other states, or lists of those. Tensors are written in place and never replaced, so that a
captured CUDA graph keeps working on the same memory.

`live_B` (bool [B], None: all) freezes rows: a row with False ends the call as if it had not happened, so that
the streams of one batch need not be in step.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def tensors_of(state: Any) -> Iterator[Tensor]:
    """Every tensor of a state, depth first."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, (list, tuple)):
        for part in state:
            yield from tensors_of(part)
    elif is_dataclass(state):
        for field in fields(state):
            yield from tensors_of(getattr(state, field.name))


@torch.no_grad()
def reset_rows(state: Any, rows_B: Tensor) -> None:
    """Bring the rows where `rows_B` (bool [B]) is True back to the beginning; the others are untouched."""
    for tensor in tensors_of(state):
        tensor.masked_fill_(per_row(rows_B, tensor), 0)


def write_rows(target: Tensor, value: Tensor, live_B: Tensor | None) -> None:
    """Overwrite `target` in place with `value`, except rows that are not live."""
    target.copy_(value if live_B is None else torch.where(per_row(live_B, target), value, target))


def per_row(rows_B: Tensor, like: Tensor) -> Tensor:
    """`rows_B` as [B, 1, …], to be broadcast over a tensor of the state."""
    return rows_B.view(-1, *([1] * (like.dim() - 1)))


def state_bytes(state: Any) -> int:
    """Memory of a state."""
    return sum(tensor.nbytes for tensor in tensors_of(state))
