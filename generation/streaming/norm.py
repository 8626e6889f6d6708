"""The normalisations that published configurations name.

    layer_norm       eps 1e-5      layer_norm_f32   eps 1e-8, in float32
    rms_norm         eps 1e-5      rms_norm_f32     eps 1e-8, in float32

Source: kyutai-labs/moshi, modules/transformer.py; Zhang and Sennrich, 2019, for RMSNorm.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.typed import Map

EPSILON = {"layer_norm": 1e-5, "layer_norm_f32": 1e-8, "rms_norm": 1e-5, "rms_norm_f32": 1e-8}


class RMSNorm(Map):
    """`x alpha / sqrt(eps + mean(x^2))` over the last dimension."""

    def __init__(self, dim: int, eps: float, in_float32: bool) -> None:
        super().__init__()
        self.eps, self.in_float32 = eps, in_float32
        self.alpha = nn.Parameter(torch.ones(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if self.in_float32 else x
        scale = torch.rsqrt(self.eps + wide.square().mean(dim=-1, keepdim=True))
        return (wide * (self.alpha.to(wide.dtype) * scale)).to(x.dtype)


class LayerNorm(Map):
    """`weight (x - mean) / sqrt(eps + variance) + bias` over the last dimension."""

    def __init__(self, dim: int, eps: float, in_float32: bool) -> None:
        super().__init__()
        self.eps, self.in_float32 = eps, in_float32
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        if not self.in_float32:
            return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        weight, bias = self.weight.float(), self.bias.float()
        return functional.layer_norm(x.float(), weight.shape, weight, bias, self.eps).to(x.dtype)


def make_norm(name: str, dim: int) -> Map:
    """The normalisation of that name. Raises ValueError for one that is not in the list above."""
    if name not in EPSILON:
        raise ValueError(f"normalisation {name!r} is unknown; known are {', '.join(EPSILON)}")
    in_float32 = name.endswith("_f32")
    if name.startswith("rms"):
        return RMSNorm(dim, EPSILON[name], in_float32)
    return LayerNorm(dim, EPSILON[name], in_float32)
