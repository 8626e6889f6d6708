"""A streaming transformer: Mimi's two, Moshi's temporal one, and the body of its depth transformer.

    x += scale_1 * attention(norm1(x));  x += scale_2 * feed_forward(norm2(x))

Dimension key: B rows, T steps, E embedding width, H hidden width.
Source: Moshi (Defossez et al., 2024, sec. 3.2 to 3.4) and its published configurations; gated feed-forward
layers, Shazeer, 2020. No dropout, no biases. Not here: cross-attention (only the published TTS models have
it).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.streaming.attention import Attention, KeyValueRing
from generation.streaming.linear import Linear
from generation.streaming.norm import make_norm
from generation.streaming.positions import Places, place, rotation_at
from generation.streaming.state import write_rows
from generation.streaming.typed import Identity, Map, Stack


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that decides shapes and maths."""

    dim: int
    num_layers: int
    num_heads: int
    feed_forward: int  # as published: a gated layer has 2/3 of it, 21/32 where it is 4 * dim
    context: int  # steps that a step can see, itself included
    norm: str = "rms_norm_f32"
    gated: bool = True
    kv_repeat: int = 1  # heads of queries that share one head of keys and values
    max_period: float | None = 10_000.0  # of the rotary embedding; None: positions are not encoded
    interleaved: bool = True  # rotated pairs are neighbours; else the two halves of a head
    layer_scale: bool = False
    frame_steps: int = 1  # steps that always come together; see positions.py
    num_weights: int = 1  # sets of weights, one for each kind of step

    @property
    def hidden(self) -> int:
        """Width between the two maps of the feed-forward layer."""
        if not self.gated:
            return self.feed_forward
        return 21 * self.dim // 8 if self.feed_forward == 4 * self.dim else 2 * self.feed_forward // 3


class GatedFeedForward(Map):
    """`out(SiLU(a) * b)` with `a, b = in(x)`."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear_in = Linear(dim, 2 * hidden)
        self.linear_out = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.linear_in(x).chunk(2, dim=-1)
        return self.linear_out(functional.silu(gate) * value)


class LayerScale(Map):
    """A learnt factor for each channel of a residual branch (Touvron et al., 2021)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Layer(nn.Module):
    """One layer; its parameters carry their published names."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, hidden, num_weights = config.dim, config.hidden, config.num_weights
        self.self_attn = Attention(
            dim,
            config.num_heads,
            kv_repeat=config.kv_repeat,
            num_weights=num_weights,
            interleaved=config.interleaved,
        )
        self.norm1, self.norm2 = make_norm(config.norm, dim), make_norm(config.norm, dim)
        self.layer_scale_1, self.layer_scale_2 = (
            LayerScale(dim) if config.layer_scale else Identity() for _ in range(2)
        )
        if not config.gated:
            self.linear1, self.linear2 = Linear(dim, hidden), Linear(hidden, dim)
        elif num_weights == 1:
            self.gating: GatedFeedForward | Stack[GatedFeedForward] = GatedFeedForward(dim, hidden)
        else:
            self.gating = Stack(GatedFeedForward(dim, hidden) for _ in range(num_weights))
        self._gated = config.gated

    def push(self, ring: KeyValueRing, x_BTE: Tensor, places: Places, weights: int = 0) -> Tensor:
        """[B, T, E] in and out."""
        x_BTE = x_BTE + self.layer_scale_1(self.self_attn.push(ring, self.norm1(x_BTE), places, weights))
        return x_BTE + self.layer_scale_2(self._feed_forward(self.norm2(x_BTE), weights))

    def over(self, x_BTE: Tensor, rotation: Tensor | None) -> Tensor:
        """As `push` from the first step on, all steps within the context and one set of weights: nothing is
        kept, and gradients cost a third less."""
        x_BTE = x_BTE + self.layer_scale_1(self.self_attn.over(self.norm1(x_BTE), rotation))
        return x_BTE + self.layer_scale_2(self._feed_forward(self.norm2(x_BTE), 0))

    def _feed_forward(self, x_BTE: Tensor, weights: int) -> Tensor:
        if not self._gated:
            return self.linear2(functional.gelu(self.linear1(x_BTE)))
        return (self.gating.at(weights) if isinstance(self.gating, Stack) else self.gating)(x_BTE)


@dataclass
class TransformerState:
    """Where each row stands, and what its past steps left."""

    position_B: Tensor  # int64: steps taken
    rings: list[KeyValueRing]


class Transformer(nn.Module):
    """A stack of layers over time."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = Stack(Layer(config) for _ in range(config.num_layers))

    def open(self, batch_size: int, ring: int | None = None) -> TransformerState:
        """Rows at their beginning. `ring` slots (default and least: the context) decide how many steps one
        pass may take; with fewer than a chunk needs, `push` takes it in parts."""
        ring = max(ring or 0, self.config.context)
        rings = [layer.self_attn.open(batch_size, ring) for layer in self.layers]
        device = rings[0].keys_BGRD.device
        return TransformerState(torch.zeros(batch_size, dtype=torch.long, device=device), rings)

    def push(
        self,
        state: TransformerState,
        x_BTE: Tensor,
        live_B: Tensor | None = None,
        num_slots: int | None = None,
    ) -> Tensor:
        """[B, T, E] in and out, T any multiple of `frame_steps`.

        `num_slots` bounds the slots in use, so that a young stream reads little memory. By default it is read
        off the state on a CPU, and is the whole ring elsewhere, where reading would wait for the device.
        """
        ring = state.rings[0].keys_BGRD.shape[2]
        longest = ring - self.config.context + self.config.frame_steps
        if x_BTE.shape[1] <= longest:
            return self._push(state, x_BTE, live_B, num_slots)
        parts = [self._push(state, part, live_B, num_slots) for part in torch.split(x_BTE, longest, dim=1)]
        return torch.cat(parts, dim=1)

    def _push(
        self, state: TransformerState, x_BTE: Tensor, live_B: Tensor | None, num_slots: int | None
    ) -> Tensor:
        T = x_BTE.shape[1]
        places = self._places(state, T, num_slots)
        for layer, ring in zip(self.layers, state.rings, strict=True):
            x_BTE = layer.push(ring, x_BTE, places)
        write_rows(state.position_B, state.position_B + T, live_B)
        return x_BTE

    def _places(self, state: TransformerState, T: int, num_slots: int | None) -> Places:
        config, ring = self.config, state.rings[0].keys_BGRD.shape[2]
        positions_BT = state.position_B[:, None] + torch.arange(T, device=state.position_B.device)
        rotation = None
        if config.max_period is not None:
            rotation = rotation_at(positions_BT, config.dim // config.num_heads, config.max_period)
        exact = num_slots is None and positions_BT.device.type == "cpu"
        if exact:
            num_slots = int(state.position_B.max()) + T
        num_slots = min(num_slots or ring, ring)
        places = place(positions_BT, num_slots, ring, config.context, config.frame_steps, rotation)
        if exact and positions_BT.numel() == 1 and ring == config.context:
            return places.all_visible()  # one row's step sees all that its ring holds
        return places
