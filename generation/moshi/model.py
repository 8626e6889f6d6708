"""Moshi's network: one temporal step a frame, then one depth step for each audio codebook of it.

    z = norm(temporal(sum_k embed_k(token_k)))          text logits = text_linear(z)
    y_k = depth_k(project_k(z) + embed(token before))   audio logits_k = linears_k(y_k)

The token before codebook 0 is the frame's text, before codebook k its codebook k - 1.
Dimension key: B rows, F frames, R rows of a frame's tokens, K spoken codebooks, V vocabulary, E width.
Source: Moshi (Defossez et al., 2024, sec. 3.4), kyutai-labs/moshi@e6a55d2, models/lm.py; parameters carry the
published names. Not here: sampling, delays in time and what a frame's input is (stepper.py).
"""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self

import torch
from torch import Tensor, nn

from generation.moshi.config import MoshiConfig
from generation.moshi.embedding import Embedding
from generation.streaming import Transformer
from generation.streaming.attention import KeyValueRing
from generation.streaming.linear import Linear, pack_for_one_row
from generation.streaming.norm import make_norm
from generation.streaming.positions import Places
from generation.streaming.transformer import TransformerState
from generation.streaming.typed import Identity, Stack


@dataclass
class DepthState:
    """Keys and values of the codebooks of one frame; every frame writes them anew."""

    rings: list[KeyValueRing]


class Moshi(nn.Module):
    """The language model: `listen` reads a frame, `depth` speaks it."""

    def __init__(self, config: MoshiConfig) -> None:
        super().__init__()
        self.config = config
        dim, depth, audio = config.temporal.dim, config.depth, config.audio_vocabulary
        num_sets = config.depth_transformer.num_weights
        self.emb = Stack(Embedding(audio + 1, dim) for _ in range(config.num_audio))
        self.text_emb = Embedding(config.text_vocabulary + 1, dim)
        self.transformer = Transformer(config.temporal)
        self.out_norm = make_norm(config.temporal.norm, dim)
        self.text_linear = Linear(dim, config.text_outputs or config.text_vocabulary)
        num_in = num_sets if depth.own_projection else 1
        self.depformer_in = Stack(Linear(dim, depth.dim) for _ in range(num_in))
        self.depformer_text_emb = Embedding(config.text_vocabulary + 1, depth.dim, depth.low_rank)
        self.depformer_emb = Stack(
            Embedding(audio + 1, depth.dim, depth.low_rank) for _ in range(config.num_spoken - 1)
        )
        self.depformer = Transformer(config.depth_transformer)
        self.depformer_norms = Stack(
            make_norm(depth.output_norm, depth.dim) if depth.output_norm else Identity()
            for _ in range(config.num_spoken)
        )
        self.linears = Stack(Linear(depth.dim, audio) for _ in range(config.num_spoken))
        self.extra_heads = Stack(
            Linear(dim, config.extra_head_outputs) for _ in range(config.num_extra_heads)
        )

    @property
    def device(self) -> torch.device:
        return self.text_emb.weight.device

    def prepare(self, batch_size: int = 1) -> Self:
        """Make ready for generation with that many rows, after loading; the results stay the same.

        One row in float32 on a CPU gets weights laid out for it, which copies them once.
        """
        if batch_size == 1:
            for module in self.modules():
                if isinstance(module, Linear):
                    module.weight.data = pack_for_one_row(module.weight.data)
        return self.requires_grad_(False).eval()

    def open(self, batch_size: int) -> TransformerState:
        """The temporal transformer's streams at their beginning."""
        return self.transformer.open(batch_size)

    def open_depth(self, batch_size: int) -> DepthState:
        """Room for the codebooks of one frame."""
        return DepthState(self.depformer.open(batch_size).rings)

    def listen(
        self,
        state: TransformerState,
        tokens_BRF: Tensor,
        live_B: Tensor | None = None,
        *,
        condition_B1E: Tensor | None = None,
        num_slots: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The frames' tokens as they enter the network, to z [B, F, E] and text logits [B, F, V].

        `condition_B1E` is added to every frame's embedding; `num_slots`: see `Transformer.push`.
        """
        x_BFE = self.embed(tokens_BRF, condition_B1E)
        return self.heard(self.transformer.push(state, x_BFE, live_B, num_slots))

    def embed(self, tokens_BRF: Tensor, condition_B1E: Tensor | None = None) -> Tensor:
        """What the temporal transformer gets [B, F, E]."""
        text_BF, *audio = tokens_BRF.unbind(dim=1)
        # The published order, audio first: in bfloat16 another order is another sum.
        vectors = [embed(token_BF) for embed, token_BF in zip(self.emb, audio, strict=True)]
        x_BFE = reduce(add, [*vectors, self.text_emb(text_BF)])
        return x_BFE if condition_B1E is None else x_BFE + condition_B1E.to(x_BFE.dtype)

    def heard(self, x_BFE: Tensor) -> tuple[Tensor, Tensor]:
        """z and text logits of what the temporal transformer gives."""
        z_BFE = self.out_norm(x_BFE)
        return z_BFE, self.text_linear(z_BFE)

    def depth(self, state: DepthState, codebook: int, z_B1E: Tensor, token_B: Tensor) -> Tensor:
        """Audio logits [B, V] of one codebook, given the token before it. Codebooks come in order from 0."""
        weights = self.config.schedule[codebook]
        embed = self.depformer_emb.at(codebook - 1) if codebook else self.depformer_text_emb
        project = self.depformer_in.at(weights if len(self.depformer_in) > 1 else 0)
        x_B1E = project(z_B1E) + embed(token_B)[:, None]
        places = self._codebook_place(codebook, len(token_B), token_B.device)
        for layer, ring in zip(self.depformer.layers, state.rings, strict=True):
            x_B1E = layer.push(ring, x_B1E, places, weights)
        return self.linears.at(codebook)(self.depformer_norms.at(codebook)(x_B1E))[:, 0]

    def forward(self, tokens_BRF: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing over whole utterances: text logits [B, F, V] and audio logits [B, K, F, V].

        `tokens_BRF` are aligned frames, as `Stepper` gives them out; delays are applied here and taken
        back, so that logits f predict tokens f. The last `max_delay` frames of a delayed row have no
        logits: NaN.
        """
        B, _, F = tokens_BRF.shape
        delays = self.config.delays
        delayed_BRF = torch.stack(
            [
                _shift(row_BF, delays[r] + 1, self._initial(r))
                for r, row_BF in enumerate(tokens_BRF.unbind(1))
            ],
            1,
        )
        state = self.transformer.open(B, ring=self.config.temporal.context + F)
        z_BFE, text_logits_BFV = self.listen(state, delayed_BRF)
        spoken_BRF = torch.stack(
            [_shift(row_BF, delays[r], self._initial(r)) for r, row_BF in enumerate(tokens_BRF.unbind(1))], 1
        )
        z_N1E = z_BFE.reshape(B * F, 1, -1)
        depth = self.open_depth(B * F)
        logits = [
            _unshift(self.depth(depth, k, z_N1E, spoken_BRF[:, k].reshape(-1)).view(B, F, -1), delays[k + 1])
            for k in range(self.config.num_spoken)
        ]
        return text_logits_BFV, torch.stack(logits, dim=1)

    def _initial(self, row: int) -> int:
        return self.config.audio_initial if row else self.config.text_initial

    @staticmethod
    def _codebook_place(codebook: int, batch_size: int, device: torch.device) -> Places:
        rows_B1 = torch.arange(batch_size, device=device)[:, None]
        return Places(rows_B1, torch.full_like(rows_B1, codebook), codebook + 1, None, None)


def _shift(row_BF: Tensor, steps: int, fill: int) -> Tensor:
    """Later by `steps` frames, of the same length."""
    return nn.functional.pad(row_BF, (steps, 0), value=fill)[:, : row_BF.shape[1]]


def _unshift(logits_BFV: Tensor, steps: int) -> Tensor:
    """Earlier by `steps` frames, of the same length; the end is NaN."""
    return nn.functional.pad(logits_BFV, (0, 0, 0, steps), value=float("nan"))[:, steps:]
