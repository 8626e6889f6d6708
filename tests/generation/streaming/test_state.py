"""States of streams: the contract that a row's beginning is all zeros."""

from dataclasses import dataclass

import torch
from torch import Tensor

from generation.streaming import reset_rows, state_bytes, write_rows


@dataclass
class Inner:
    position_B: Tensor


@dataclass
class Outer:
    previous_BTC: Tensor
    parts: list[Inner | None]


def _state() -> Outer:
    return Outer(torch.ones(2, 3, 4), [Inner(torch.tensor([5, 6])), None])


def test_a_reset_reaches_every_tensor_and_only_the_rows_it_names() -> None:
    state = _state()
    reset_rows(state, torch.tensor([False, True]))
    assert state.previous_BTC[0].eq(1).all() and state.previous_BTC[1].eq(0).all()
    assert state.parts[0] is not None and state.parts[0].position_B.tolist() == [5, 0]


def test_a_reset_keeps_the_memory() -> None:
    """A captured CUDA graph holds the address: a new tensor would be ignored by it."""
    state = _state()
    before = state.previous_BTC.data_ptr()
    reset_rows(state, torch.tensor([True, True]))
    assert state.previous_BTC.data_ptr() == before


def test_writing_spares_rows_that_are_not_live() -> None:
    target = torch.zeros(2, 2)
    write_rows(target, torch.ones(2, 2), torch.tensor([True, False]))
    assert target.tolist() == [[1, 1], [0, 0]]
    write_rows(target, torch.ones(2, 2), None)
    assert target.tolist() == [[1, 1], [1, 1]]


def test_the_size_of_a_state_counts_every_tensor_once() -> None:
    assert state_bytes(_state()) == 2 * 3 * 4 * 4 + 2 * 8
