"""Causal convolutions over [B, T, C], as matrix products.

    causal          y[t] = b + sum_k W[k] x[t S + k - (K_eff - S)],  K_eff = (K - 1) dilation + 1
    transposed      y[t S + k] += W[k] x[t],  K = 2 S, the last S samples wait for the next chunk

Dimension key: K kernel, S stride, T steps of the input, F steps of the output, C channels.
Source: Mimi (Defossez et al., 2024, sec. 3.3), as published in kyutai-labs/moshi; the left edge there and
here: zeros, except the learnt downsampling, which repeats its first step. Differs: channels last, so that a
window of K steps is one stretch of memory and the convolution one GEMM. Where gradients are recorded the
library's convolution does the same sum, since the gradient of overlapping windows is slow (measured 2026-11:
a codec's training step, one core, 0.63 against 1.06 s). Weights keep their published
shapes; `pack` changes the order in memory only, which spares a reordering of the weight at each call.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.linear import linear
from generation.streaming.state import per_row, write_rows


@dataclass
class ConvState:
    """The last inputs that the next output still needs."""

    previous_BTC: Tensor
    started_B: Tensor  # bool; kept only by a convolution that repeats its first step


class CausalConv(nn.Module):
    """Conv1d whose output at a step depends on that step and the past only."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
        repeat_first: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.repeat_first = stride, dilation, repeat_first
        self.num_kept = (kernel - 1) * dilation + 1 - stride  # steps kept between chunks
        reference = nn.Conv1d(num_in, num_out, kernel, bias=bias)  # for its initialisation
        self.weight, self.bias = reference.weight, reference.bias

    def pack(self) -> None:
        """Lay the weight out for `push`, each window in one stretch; call it once after loading."""
        self.weight.data = self.weight.data.permute(0, 2, 1).contiguous().permute(0, 2, 1)

    def open(self, batch_size: int) -> ConvState:
        weight = self.weight
        previous = weight.new_zeros(batch_size, self.num_kept, weight.shape[1])
        return ConvState(previous, torch.zeros(batch_size, dtype=torch.bool, device=weight.device))

    def push(self, state: ConvState, x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:
        """T steps in, T / stride steps out; T is a multiple of the stride."""
        _, T, C = x_BTC.shape
        O, _, K = self.weight.shape  # noqa: E741
        F = T // self.stride
        if self.num_kept:
            previous_BTC = state.previous_BTC
            if self.repeat_first:
                started = per_row(
                    state.started_B, previous_BTC
                ).clone()  # a gradient keeps it, we overwrite it
                previous_BTC = torch.where(started, previous_BTC, x_BTC[:, :1])
            x_BTC = torch.cat([previous_BTC, x_BTC], dim=1)
            write_rows(state.previous_BTC, x_BTC[:, -self.num_kept :], live_B)
        if self.repeat_first:
            write_rows(state.started_B, torch.ones_like(state.started_B), live_B)
        if torch.is_grad_enabled():
            y_BOF = functional.conv1d(
                x_BTC.transpose(1, 2), self.weight, self.bias, self.stride, dilation=self.dilation
            )
            return y_BOF.transpose(1, 2)
        weight = self.weight.permute(0, 2, 1).reshape(O, K * C)
        return linear(self._windows(x_BTC, F, K), weight, self.bias)

    def _windows(self, x_BTC: Tensor, F: int, K: int) -> Tensor:
        """The inputs of each output step: [B, F, K C]."""
        if K == 1 and self.stride == 1:
            return x_BTC
        B, T, C = x_BTC.shape
        windows = x_BTC.contiguous().as_strided((B, F, K, C), (T * C, self.stride * C, self.dilation * C, 1))
        return windows.reshape(B, F, K * C)


@dataclass
class ConvTransposeState:
    """What earlier inputs add to the outputs of the next one; without bias."""

    overlap_BSC: Tensor


class CausalConvTranspose(nn.Module):
    """ConvTranspose1d with a kernel of twice the stride; the outputs of a step are complete when it is
    pushed."""

    def __init__(self, num_in: int, num_out: int, stride: int, *, bias: bool = True, depthwise: bool = False):
        super().__init__()
        self.stride, self.depthwise = stride, depthwise
        groups = num_in if depthwise else 1
        reference = nn.ConvTranspose1d(num_in, num_out, 2 * stride, groups=groups, bias=bias)
        self.weight, self.bias = reference.weight, reference.bias
        self.num_out = num_out

    def pack(self) -> None:
        """As `CausalConv.pack`, each output in one stretch."""
        self.weight.data = self.weight.data.permute(2, 1, 0).contiguous().permute(2, 1, 0)

    def open(self, batch_size: int) -> ConvTransposeState:
        return ConvTransposeState(self.weight.new_zeros(batch_size, self.stride, self.num_out))

    def push(self, state: ConvTransposeState, x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:
        """T steps in, T * stride steps out."""
        B, T, _ = x_BTC.shape
        y_BTKC = self._spread(x_BTC).view(B, T, 2, self.stride, self.num_out)
        late_BTSC = y_BTKC[:, :, 1]
        before_BTSC = torch.cat([state.overlap_BSC[:, None], late_BTSC[:, :-1]], dim=1)
        y_BTSC = y_BTKC[:, :, 0] + before_BTSC
        write_rows(state.overlap_BSC, late_BTSC[:, -1], live_B)
        y_BTC = y_BTSC.reshape(B, T * self.stride, self.num_out)
        return y_BTC if self.bias is None else y_BTC + self.bias

    def _spread(self, x_BTC: Tensor) -> Tensor:
        """What each step adds to 2 S outputs: [B, T, 2 S, C]."""
        if self.depthwise:
            return x_BTC[:, :, None, :] * self.weight[:, 0, :].t()
        return linear(x_BTC, self.weight.permute(2, 1, 0).reshape(-1, x_BTC.shape[-1]))
