"""The streaming transformer: rings, what a step sees, positions, and the four tests of a streaming stage."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from generation.streaming import Transformer, TransformerConfig
from generation.streaming.positions import place, rotate, rotation_at
from generation.streaming.state import tensors_of
from tests.generation.streams import (
    assert_chunking_changes_nothing,
    assert_reset_begins_again,
    assert_rows_do_not_leak,
)

SMALL = TransformerConfig(dim=16, num_layers=2, num_heads=4, feed_forward=33, context=10)
VARIANTS = {
    "moshi": SMALL,
    "mimi": replace(SMALL, norm="layer_norm", gated=False, layer_scale=True, frame_steps=2),
    "grouped": replace(SMALL, kv_repeat=2),
    "halves": replace(SMALL, interleaved=False, norm="layer_norm_f32"),
    "no positions": replace(SMALL, max_period=None, norm="rms_norm"),
}


def _transformer(name: str) -> Transformer:
    torch.manual_seed(3)
    transformer = Transformer(VARIANTS[name])
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return transformer.requires_grad_(False)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_transformer_streams_past_its_context(name: str) -> None:
    """36 steps with a context of 10: the ring turns over three times."""
    transformer, x_BTC = _transformer(name), torch.randn(2, 36, 16)
    size = transformer.config.frame_steps
    chunkings = [[size], [3 * size], [2 * size, 5 * size], [18]]
    assert_chunking_changes_nothing(transformer.open, transformer.push, x_BTC, chunkings)
    assert_rows_do_not_leak(transformer.open, transformer.push, x_BTC, size)
    assert_reset_begins_again(transformer.open, transformer.push, x_BTC)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_wide_ring_gives_in_one_pass_what_a_narrow_one_gives_in_steps(name: str) -> None:
    """Whole utterances are read in one pass: training and `Mimi.run` rely on it."""
    transformer, x_BTC = _transformer(name), torch.randn(2, 36, 16)
    stepped = transformer.push(transformer.open(2), x_BTC)
    whole = transformer.push(transformer.open(2, ring=10 + 36), x_BTC)
    torch.testing.assert_close(whole, stepped, atol=1e-5, rtol=0)


@torch.no_grad()
def test_slots_that_were_never_written_are_never_read() -> None:
    """Poison in the empty part of the ring must change nothing, with and without a bound on the slots."""
    transformer, x_BTC = _transformer("moshi"), torch.randn(2, 4, 16)
    clean = transformer.push(transformer.open(2), x_BTC, num_slots=10)
    state = transformer.open(2)
    for tensor in tensors_of(state.rings):
        tensor.fill_(1e9)
    torch.testing.assert_close(transformer.push(state, x_BTC, num_slots=10), clean, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_bound_on_the_slots_changes_nothing() -> None:
    """The captured graph passes a power of two; the CPU reads the exact number off the state."""
    transformer, x_BTC = _transformer("moshi"), torch.randn(1, 24, 16)
    exact, bounded = transformer.open(1), transformer.open(1)
    for t in range(24):
        y = transformer.push(exact, x_BTC[:, t : t + 1])
        z = transformer.push(bounded, x_BTC[:, t : t + 1], num_slots=8 if t < 8 else 16)
        torch.testing.assert_close(z, y, atol=1e-5, rtol=0)


def _seen(position: int, *, context: int, frame_steps: int) -> list[int]:
    """Positions that a step sees, in a ring where nothing is lost."""
    positions_BT = torch.arange(position - position % frame_steps, position + 1)[None]
    places = place(positions_BT, 64, 64, context, frame_steps, None)
    assert places.visible_B1TS is not None
    return places.visible_B1TS[0, 0, -1].nonzero().flatten().tolist()


def test_a_step_sees_itself_and_its_context() -> None:
    assert _seen(2, context=4, frame_steps=1) == [0, 1, 2]
    assert _seen(9, context=4, frame_steps=1) == [6, 7, 8, 9]


def test_the_first_step_of_a_pair_sees_one_position_less() -> None:
    """As the published codec, whose ring takes both steps in before it answers the first."""
    assert _seen(8, context=4, frame_steps=2) == [6, 7, 8]
    assert _seen(9, context=4, frame_steps=2) == [6, 7, 8, 9]


def test_turning_pairs_of_neighbours_by_hand() -> None:
    """At position 1 the first pair turns by one radian; the second, of period 10000, by a hundredth."""
    x = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 1, 4)
    y = rotate(x, rotation_at(torch.tensor([[1]]), 4, 10_000.0), interleaved=True).flatten()
    expected = torch.tensor([1.0, 1.0, 0.01, 0.01])
    torch.testing.assert_close(y, torch.stack([expected.cos()[::2], expected.sin()[::2]], 1).flatten())


def test_pairs_are_halves_of_the_head_where_the_configuration_says_so() -> None:
    x = torch.randn(1, 2, 3, 8)
    rotation = rotation_at(torch.arange(3)[None], 8, 10_000.0)
    mixed = rotate(x.view(1, 2, 3, 2, 4).transpose(-1, -2).reshape(1, 2, 3, 8), rotation, interleaved=True)
    halves = rotate(x, rotation, interleaved=False)
    torch.testing.assert_close(halves, mixed.view(1, 2, 3, 4, 2).transpose(-1, -2).reshape(1, 2, 3, 8))


@torch.no_grad()
def test_one_layer_is_the_formula_written_out() -> None:
    """Against attention written with einsum: nothing of ours is on both sides."""
    torch.manual_seed(5)
    transformer = Transformer(replace(VARIANTS["no positions"], num_layers=1))
    layer, x_TE = transformer.layers.at(0), torch.randn(6, 16)
    weights = dict(layer.state_dict())

    def norm(x_TE: Tensor, name: str) -> Tensor:
        return (
            x_TE * weights[f"{name}.alpha"].flatten() / (1e-5 + x_TE.square().mean(-1, keepdim=True)).sqrt()
        )

    heads = norm(x_TE, "norm1") @ weights["self_attn.in_proj.weight"].t()
    q, k, v = (part.view(6, 4, 4) for part in heads.chunk(3, -1))
    scores = torch.einsum("thd,shd->hts", q, k) / 2
    attention = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf).softmax(-1)
    mixed = torch.einsum("hts,shd->thd", attention, v).reshape(6, 16)
    y_TE = x_TE + mixed @ weights["self_attn.out_proj.weight"].t()
    gate, value = (norm(y_TE, "norm2") @ weights["gating.linear_in.weight"].t()).chunk(2, -1)
    expected = y_TE + (functional.silu(gate) * value) @ weights["gating.linear_out.weight"].t()
    actual = transformer.push(transformer.open(1), x_TE[None])[0]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_gradients_flow_through_a_whole_utterance() -> None:
    """Training reads utterances in one pass; writing the ring in place would break its backward pass."""
    transformer = Transformer(SMALL)
    transformer.push(transformer.open(2, ring=20), torch.randn(2, 10, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in transformer.parameters())
