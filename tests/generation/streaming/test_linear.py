"""Products with few rows: each way of computing them gives the same numbers."""

import pytest
import torch
from torch.nn import functional

from generation.streaming.linear import MOST_ROWS_OF_A_STEP, linear, pack_for_one_row


@pytest.mark.parametrize("num_rows", [1, 2, 3, MOST_ROWS_OF_A_STEP, MOST_ROWS_OF_A_STEP + 1])
@pytest.mark.parametrize("shape", [(24, 10), (10, 24)])
@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_every_number_of_rows_gives_the_product(num_rows: int, shape: tuple[int, int], packed: bool) -> None:
    torch.manual_seed(num_rows)
    weight, bias = torch.randn(shape), torch.randn(shape[0])
    x = torch.randn(1, num_rows, shape[1])
    used = pack_for_one_row(weight) if packed else weight
    torch.testing.assert_close(linear(x, used, bias), functional.linear(x, weight, bias), atol=1e-5, rtol=0)


def test_packing_keeps_shape_and_values() -> None:
    """Only the order in memory may change: the weight is saved under its published shape."""
    weight = torch.randn(6, 4)
    packed = pack_for_one_row(weight)
    assert packed.shape == weight.shape and torch.equal(packed, weight)
    assert not packed.is_contiguous() and packed.t().is_contiguous()


def test_gradients_pass_through_few_rows() -> None:
    weight = torch.randn(6, 4, requires_grad=True)
    linear(torch.randn(1, 2, 4), weight).sum().backward()
    assert weight.grad is not None
