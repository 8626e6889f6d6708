"""Causal convolutions: PyTorch's on the same weights, and the four tests of a streaming stage."""

import pytest
import torch
from torch.nn import functional

from generation.streaming import CausalConv, CausalConvTranspose
from tests.generation.streams import (
    assert_chunking_changes_nothing,
    assert_reset_begins_again,
    assert_rows_do_not_leak,
)

CONVOLUTIONS = {
    "plain": {"kernel": 7},
    "one": {"kernel": 1},
    "strided": {"kernel": 8, "stride": 4},
    "dilated": {"kernel": 3, "dilation": 4},
    "repeating": {"kernel": 4, "stride": 2, "bias": False, "repeat_first": True},
}


def _conv(name: str) -> CausalConv:
    torch.manual_seed(1)
    return CausalConv(3, 5, **CONVOLUTIONS[name])  # type: ignore[arg-type]


@torch.no_grad()
def test_a_hand_written_stream() -> None:
    """y[t] = x[t - 2] + 10 x[t - 1] + 100 x[t], silence before the start."""
    conv = CausalConv(1, 1, 3, bias=False)
    conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
    state = conv.open(1)
    assert conv.push(state, torch.tensor([[[1.0], [2.0]]])).flatten().tolist() == [100, 210]
    assert conv.push(state, torch.tensor([[[3.0]]])).flatten().tolist() == [321]


@torch.no_grad()
def test_a_hand_written_upsampling() -> None:
    """Each input adds (1, 2, 3, 4) times itself to four outputs, two of which are the next input's."""
    conv = CausalConvTranspose(1, 1, 2, bias=False)
    conv.weight.copy_(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    state = conv.open(1)
    assert conv.push(state, torch.tensor([[[1.0]]])).flatten().tolist() == [1, 2]
    assert conv.push(state, torch.tensor([[[10.0]]])).flatten().tolist() == [13, 24]


@torch.no_grad()
def test_the_first_step_is_repeated_to_the_left_where_asked() -> None:
    """The learnt downsampling of the published codec; zeros there change its first code."""
    conv = CausalConv(1, 1, 4, stride=2, bias=False, repeat_first=True)
    conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]]))
    assert conv.push(conv.open(1), torch.tensor([[[2.0], [3.0]]])).flatten().tolist() == [3222]


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "repeating"])
@torch.no_grad()
def test_a_convolution_is_pytorchs_with_silence_before_it(name: str) -> None:
    conv, x_BTC = _conv(name), torch.randn(2, 24, 3)
    padded = functional.pad(x_BTC.transpose(1, 2), (conv.num_kept, 0))
    expected = functional.conv1d(padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation)
    torch.testing.assert_close(conv.push(conv.open(2), x_BTC).transpose(1, 2), expected)


@pytest.mark.parametrize("depthwise", [False, True])
@torch.no_grad()
def test_a_transposed_convolution_is_pytorchs_without_its_tail(depthwise: bool) -> None:
    conv, x_BTC = CausalConvTranspose(4, 4, 3, depthwise=depthwise), torch.randn(2, 7, 4)
    groups = 4 if depthwise else 1
    full = functional.conv_transpose1d(x_BTC.transpose(1, 2), conv.weight, conv.bias, 3, groups=groups)
    torch.testing.assert_close(conv.push(conv.open(2), x_BTC).transpose(1, 2), full[..., :21])


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_convolution_streams(name: str, packed: bool) -> None:
    conv, x_BTC = _conv(name), torch.randn(2, 32, 3)
    if packed:
        conv.pack()
    size = conv.stride
    assert_chunking_changes_nothing(conv.open, conv.push, x_BTC, [[size], [3 * size], [2 * size, size]])
    assert_rows_do_not_leak(conv.open, conv.push, x_BTC, 2 * size)
    assert_reset_begins_again(conv.open, conv.push, x_BTC)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_transposed_convolution_streams(depthwise: bool, packed: bool) -> None:
    conv, x_BTC = CausalConvTranspose(3, 3, 2, depthwise=depthwise), torch.randn(2, 16, 3)
    if packed:
        conv.pack()
    assert_chunking_changes_nothing(conv.open, conv.push, x_BTC, [[1], [5], [3, 1]])
    assert_rows_do_not_leak(conv.open, conv.push, x_BTC, 2)
    assert_reset_begins_again(conv.open, conv.push, x_BTC)


def test_packing_changes_the_order_in_memory_and_nothing_else() -> None:
    for conv in (_conv("strided"), CausalConvTranspose(3, 5, 2)):
        before = conv.weight.detach().clone()
        conv.pack()
        assert torch.equal(conv.weight, before) and not conv.weight.is_contiguous()
