"""A linear map with a low-rank change beside it: `y = W x + scaling B A x`.

Source: LoRA (Hu et al., 2021, eq. 3); `scaling` is a constant of the checkpoint, as published.
"""

from torch import Tensor

from generation.streaming.linear import Linear


class LoraLinear(Linear):
    """Where a weight is a stack of sets, each set has its own A and B, stacked on their outputs too."""

    def __init__(self, num_in: int, num_out: int, rank: int, scaling: float, num_sets: int = 1) -> None:
        super().__init__(num_in, num_out)
        self.lora_A, self.lora_B = Linear(num_in, num_sets * rank), Linear(rank, num_out)
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.lora_B(self.lora_A(x)) * self.scaling

    def of_set(self, x: Tensor, index: int, num: int) -> Tensor:
        narrow = self.lora_A.of_set(x, index, num)
        return super().of_set(x, index, num) + self.lora_B.of_set(narrow, index, num) * self.scaling
