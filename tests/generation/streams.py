"""What every streaming stage must do, as functions that the tests of each stage call."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from generation.streaming import reset_rows
from generation.streaming.state import tensors_of

Open = Callable[[int], Any]
Push = Callable[..., Tensor]  # (state, x [B, T, C], live_B) -> y


def pieces(x_BTC: Tensor, sizes: Sequence[int]) -> Iterable[Tensor]:
    """The signal cut into chunks of these sizes, over and over."""
    start, index = 0, 0
    while start < x_BTC.shape[1]:
        size = sizes[index % len(sizes)]
        yield x_BTC[:, start : start + size]
        start, index = start + size, index + 1


@torch.no_grad()
def assert_chunking_changes_nothing(
    open_: Open, push: Push, x_BTC: Tensor, chunkings: Sequence[Sequence[int]], atol: float = 1e-5
) -> None:
    """Whole, odd, uneven and least chunks give the same output."""
    whole = push(open_(len(x_BTC)), x_BTC)
    for sizes in chunkings:
        state = open_(len(x_BTC))
        chunked = torch.cat([push(state, piece) for piece in pieces(x_BTC, sizes)], dim=1)
        torch.testing.assert_close(chunked, whole, atol=atol, rtol=0)


@torch.no_grad()
def assert_rows_do_not_leak(open_: Open, push: Push, x_BTC: Tensor, size: int, atol: float = 1e-5) -> None:
    """Two rows out of step: each equals the same stream alone, and a resting row's state does not change."""
    alone = [push(open_(1), x_BTC[b : b + 1]) for b in range(2)]
    state = open_(2)
    chunks = list(pieces(x_BTC, [size]))
    outputs: list[list[Tensor]] = [[], []]
    turns = [(0,), (0, 1), (1,), (1,), (0, 1), (0,)] * len(chunks)
    taken = [0, 0]
    for turn in turns:
        rows = [b for b in turn if taken[b] < len(chunks)]
        x = torch.full_like(chunks[0], 3.0)  # a resting row hears anything
        for b in rows:
            x[b] = chunks[taken[b]][b]
        live_B = torch.tensor([b in rows for b in range(2)])
        y = push(state, x, live_B)
        for b in rows:
            outputs[b].append(y[b : b + 1])
            taken[b] += 1
    for b in range(2):
        torch.testing.assert_close(torch.cat(outputs[b], dim=1), alone[b], atol=atol, rtol=0)


@torch.no_grad()
def assert_reset_begins_again(open_: Open, push: Push, x_BTC: Tensor, atol: float = 1e-5) -> None:
    """After a reset a row gives what a fresh one gives; the other goes on."""
    fresh = push(open_(2), x_BTC)
    state = open_(2)
    push(state, x_BTC)
    second = push(_copy(state), x_BTC)
    reset_rows(state, torch.tensor([True, False]))
    y = push(state, x_BTC)
    torch.testing.assert_close(y[0], fresh[0], atol=atol, rtol=0)
    torch.testing.assert_close(y[1], second[1], atol=atol, rtol=0)


def _copy(state: Any) -> Any:
    import copy

    copied = copy.deepcopy(state)
    assert all(a is not b for a, b in zip(tensors_of(copied), tensors_of(state), strict=True))
    return copied
