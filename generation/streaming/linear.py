"""Matrix products with few rows, where reading the weight is all the work.

Dimension key: N rows of the input, I inputs, O outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.typed import Map

MOST_ROWS_OF_A_STEP = 8


def linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """`x [..., I] @ weight.T + bias -> [..., O]`.

    On a CPU in float32, a few rows take the weight from the left. Measured 2026-11 (two cores, MKL 2024.2,
    GB/s of weight, 1024 x 5632): two rows 17.0 against 6.1 of F.linear, four 14.0 against 3.4, from eight on
    no gain worth having. One row is doubled, since MKL's product of two columns reads faster (17.0) than its
    product of one (13.4). CUDA has kernels for one row of its own.
    """
    I = x.shape[-1]  # noqa: E741 - the key above
    N = x.numel() // I
    if x.device.type != "cpu" or x.dtype != torch.float32 or N > MOST_ROWS_OF_A_STEP or x.requires_grad:
        return functional.linear(x, weight_OI, bias_O)
    columns_IN = x.reshape(N, I).expand(max(N, 2), I).t()
    y = (weight_OI @ columns_IN).t()[:N].reshape(*x.shape[:-1], -1)
    return y if bias_O is None else y + bias_O


class Linear(Map):
    """A linear map without bias: no layer of Moshi's transformers has one."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_out, num_in))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    @property
    def dtype(self) -> torch.dtype:
        """Of what it gives."""
        return self.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)

    def of_set(self, x: Tensor, index: int, num: int) -> Tensor:
        """As `forward`, with one of `num` sets of weights that are stacked on the outputs."""
        return linear(x, self.weight.chunk(num)[index])
