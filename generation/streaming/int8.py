"""Linear maps whose weights are whole numbers from -127 to 127, with one float32 factor for each output.

    y_o = scb_o / 127 * sum_i x_i W_oi,    scb_o = max_i |w_oi|,  W_oi = round(127 w_oi / scb_o)

Source: LLM.int8() (Dettmers et al., 2022, sec. 2.1), row-wise part; names as in the published q8 checkpoints.
Differs from what runs those in the published code (bitsandbytes): only weights are rounded, activations keep
their dtype and no outlier is treated apart. Half of bfloat16's memory; no claim of speed on CUDA, where this
is the plain product (its conversion is one that torch.compile fuses).
Dimension key: N rows of the input, I inputs, O outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.typed import Map

LARGEST = 127
# Weights converted at a time on a CPU: 2 MB of float32, which stay in its cache. Measured 2026-11, one core,
# ms for 4096 x 4096 and one row: 4.5 at this size, 50.8 for the whole weight at once, 3.7 for a float32
# weight; two rows 5.7 against 8.3 of a float32 weight, eight 11.3 against 17.0.
BLOCK = 2**19


class Int8Linear(Map):
    """In place of a `Linear`, for inference. `dtype`: of the activations around it."""

    def __init__(self, num_in: int, num_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Buffer(torch.zeros(num_out, num_in, dtype=torch.int8))
        self.weight_scb = nn.Buffer(torch.zeros(num_out, dtype=torch.float32))
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return int8_linear(x, self.weight, self.weight_scb)

    def of_set(self, x: Tensor, index: int, num: int) -> Tensor:
        """As `Linear.of_set`."""
        return int8_linear(x, self.weight.chunk(num)[index], self.weight_scb.chunk(num)[index])


def quantize(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Its int8 weight [O, I] and scb [O]. A row of zeros stays one."""
    wide_OI = weight_OI.float()
    scb_O = wide_OI.abs().amax(dim=1)
    steps_OI = wide_OI * (LARGEST / scb_O.clamp(min=torch.finfo(torch.float32).tiny))[:, None]
    return steps_OI.round().to(torch.int8), scb_O


def int8_linear(x: Tensor, weight_OI: Tensor, scb_O: Tensor) -> Tensor:
    """`x [..., I] -> [..., O]` in the dtype of x."""
    if x.device.type == "cpu":
        wide = _in_blocks(x.float(), weight_OI) * (scb_O / LARGEST)
    else:
        wide = functional.linear(x, weight_OI.to(x.dtype)).float() * (scb_O / LARGEST)
    return wide.to(x.dtype)


def _in_blocks(x: Tensor, weight_OI: Tensor) -> Tensor:
    """The product with a weight that is converted part by part into the same memory."""
    O, I = weight_OI.shape  # noqa: E741 - the key above
    rows = max(1, BLOCK // I)
    y, block = x.new_empty(*x.shape[:-1], O), x.new_empty(min(rows, O), I)
    for begin, part_OI in zip(range(0, O, rows), torch.split(weight_OI, rows), strict=True):
        wide_OI = block[: len(part_OI)].copy_(part_OI)
        y[..., begin : begin + rows] = functional.linear(x, wide_OI)
    return y
