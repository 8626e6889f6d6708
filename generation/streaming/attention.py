"""Causal self-attention over a ring of keys and values.

Dimension key: B rows, T steps of the chunk, R slots of the ring, S slots in use, H heads of the queries, G
heads of keys and values, D width of a head, E embedding width.
Source: Vaswani et al., 2017, sec. 3.2; grouped queries, Ainslie et al., 2023; weights per step as in the
depth transformer of Moshi (Defossez et al., 2024, sec. 3.4.1): stacked on the first dimension of the
projections.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.linear import Linear
from generation.streaming.positions import Places, rotate


@dataclass
class KeyValueRing:
    """Keys (already turned) and values of the last R steps. Slots that were never written are masked, not
    read: a zero weight times whatever lies there, which therefore must be finite, hence zeros and not NaN."""

    keys_BGRD: Tensor
    values_BGRD: Tensor


class Attention(nn.Module):
    """`num_weights` sets of projections; a temporal transformer has one."""

    def __init__(
        self, dim: int, num_heads: int, *, kv_repeat: int, num_weights: int, interleaved: bool
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = num_heads, num_heads // kv_repeat
        self.num_weights, self.interleaved = num_weights, interleaved
        self.head_width = dim // num_heads
        num_out = self.head_width * (num_heads + 2 * self.num_kv_heads)
        self.in_proj = Linear(dim, num_weights * num_out)
        self.out_proj = Linear(dim, num_weights * dim)

    def open(self, batch_size: int, ring: int) -> KeyValueRing:
        shape, dtype = (batch_size, self.num_kv_heads, ring, self.head_width), self.in_proj.dtype
        device = self.in_proj.weight.device
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        return KeyValueRing(keys, values)

    def push(self, ring: KeyValueRing, x_BTE: Tensor, places: Places, weights: int = 0) -> Tensor:
        """[B, T, E] in and out; `weights` says which set to use.

        Rows that are not live write too: into slots that their next step overwrites before it reads them.
        """
        B, T, _ = x_BTE.shape
        q_BHTD, k_BGTD, v_BGTD = self._heads(x_BTE, places.rotation, weights)
        ring.keys_BGRD = _written(ring.keys_BGRD, k_BGTD, places)
        ring.values_BGRD = _written(ring.values_BGRD, v_BGTD, places)
        mixed_BHTD = functional.scaled_dot_product_attention(
            q_BHTD,
            ring.keys_BGRD[:, :, : places.num_slots].to(q_BHTD.dtype),
            ring.values_BGRD[:, :, : places.num_slots].to(q_BHTD.dtype),
            attn_mask=places.visible_B1TS,
            enable_gqa=self.num_heads != self.num_kv_heads,
        )
        return self._project(self.out_proj, mixed_BHTD.transpose(1, 2).reshape(B, T, -1), weights)

    def over(self, x_BTE: Tensor, rotation: Tensor | None) -> Tensor:
        """[B, T, E] in and out: every step sees all before it, and nothing is kept."""
        B, T, _ = x_BTE.shape
        q_BHTD, k_BGTD, v_BGTD = self._heads(x_BTE, rotation, 0)
        gqa = self.num_heads != self.num_kv_heads
        mixed_BHTD = functional.scaled_dot_product_attention(
            q_BHTD, k_BGTD, v_BGTD, is_causal=True, enable_gqa=gqa
        )
        return self.out_proj(mixed_BHTD.transpose(1, 2).reshape(B, T, -1))

    def _heads(self, x_BTE: Tensor, rotation: Tensor | None, weights: int) -> tuple[Tensor, Tensor, Tensor]:
        B, T, _ = x_BTE.shape
        G = self.num_kv_heads
        projected_BTO = self._project(self.in_proj, x_BTE, weights)
        heads_BHTD = projected_BTO.view(B, T, -1, self.head_width).transpose(1, 2)
        q_BHTD, k_BGTD, v_BGTD = torch.split(heads_BHTD, [self.num_heads, G, G], dim=1)
        if rotation is not None:
            q_BHTD = rotate(q_BHTD, rotation, self.interleaved)
            k_BGTD = rotate(k_BGTD, rotation, self.interleaved)
        return q_BHTD, k_BGTD, v_BGTD

    def _project(self, projection: Linear, x_BTE: Tensor, weights: int) -> Tensor:
        if self.num_weights == 1:
            return projection(x_BTE)
        return projection.of_set(x_BTE, weights, self.num_weights)


def _written(ring_BGRD: Tensor, new_BGTD: Tensor, places: Places) -> Tensor:
    """The ring with the new steps in their slots: the same memory, except where gradients are recorded."""
    G = ring_BGRD.shape[1]
    heads_G1 = torch.arange(G, device=ring_BGRD.device)[:, None]
    where = (places.rows_B1[:, None], heads_G1, places.slots_BT[:, None])
    put = ring_BGRD.index_put if torch.is_grad_enabled() else ring_BGRD.index_put_
    return put(where, new_BGTD.to(ring_BGRD.dtype))
