"""Where the steps of a chunk stand: slots in the ring of keys, what each may see, and its rotation.

A row's step at position p is kept in slot p mod R of a ring of R slots. A step sees itself and the past, no
further back than `context` positions counted from the end of its *frame*, `frame_steps` steps that always
come together. So the first step of a frame of two sees one position less than the second: the published
codec behaves so, since its ring of `context` slots takes both steps in before the first is answered, and
saying it here makes every chunking give the same output.

Dimension key: B rows, T steps of the chunk, S slots in use, R all slots, D width of a head.
Source: rotary embedding, Su et al., 2021, eq. 34, pairs interleaved; kyutai-labs/moshi for ring and context.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """The steps of one chunk, for all layers of a transformer."""

    rows_B1: Tensor
    slots_BT: Tensor  # where each step's key is written
    num_slots: int  # S: slots that may be in use, the chunk included
    visible_B1TS: Tensor | None  # bool; None: everything in use is visible
    rotation: Tensor | None  # [2, B, 1, T, D / 2], cosine and sine; None: positions are not encoded

    def all_visible(self) -> "Places":
        """The same without a mask, which attention computes faster."""
        return replace(self, visible_B1TS=None)


def place(
    positions_BT: Tensor, num_slots: int, ring: int, context: int, frame_steps: int, rotation: Tensor | None
) -> Places:
    """Places of the steps at these positions, in a ring of which the first `num_slots` are in use.

    Exact as long as ring >= context + T - frame_steps, which `Transformer.push` sees to.
    """
    rows_B1 = torch.arange(len(positions_BT), device=positions_BT.device)[:, None]
    slots_BT = positions_BT % ring
    last_B1 = positions_BT[:, -1:]
    age_BS = (last_B1 - torch.arange(num_slots, device=positions_BT.device)) % ring
    held_BS = last_B1 - age_BS  # the position that each slot holds; negative: never written
    frame_end_BT = positions_BT - positions_BT % frame_steps + frame_steps - 1
    held_B1S, now_BT1 = held_BS[:, None, :], positions_BT[:, :, None]
    visible_BTS = (held_B1S >= 0) & (held_B1S <= now_BT1) & (held_B1S > frame_end_BT[:, :, None] - context)
    return Places(rows_B1, slots_BT, num_slots, visible_BTS[:, None], rotation)


def rotation_at(positions_BT: Tensor, head_width: int, max_period: float) -> Tensor:
    """Cosine and sine of p max_period ** (-2 d / head_width): float32 [2, B, 1, T, head_width / 2]."""
    pairs = torch.arange(head_width // 2, device=positions_BT.device, dtype=torch.float32)
    frequency = torch.exp(pairs * (-math.log(max_period) * 2 / head_width))
    angle_B1TD = (positions_BT.float()[:, :, None] * frequency)[:, None]
    return torch.stack([angle_B1TD.cos(), angle_B1TD.sin()])


def rotate(x_BHTD: Tensor, rotation: Tensor, interleaved: bool) -> Tensor:
    """Turn each pair of components by its angle, in float32. Pairs are neighbours, or halves of the head."""
    cos, sin = rotation
    pair_axis, shape = (-1, (-1, 2)) if interleaved else (-2, (2, -1))
    real, imaginary = x_BHTD.float().view(*x_BHTD.shape[:-1], *shape).unbind(pair_axis)
    turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=pair_axis)
    return turned.flatten(-2).to(x_BHTD.dtype)
