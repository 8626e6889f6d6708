"""Key spellings, at full size against the published lists, and one by one."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from generation.checkpoints import published_state
from generation.checkpoints.names import MIMI_RENAMES, MOSHI_RENAMES, Renames, sources
from generation.errors import CheckpointError
from generation.mimi import Mimi, MimiConfig
from generation.moshi import Moshi, MoshiConfig
from tests.generation.tiny import TINY_MIMI, TINY_MOSHI

ASSETS = Path(__file__).parents[2] / "assets"


class Listed:
    """Keys and shapes of a published model, as its code prints them."""

    def __init__(self, path: Path) -> None:
        lines = (line.split(" ", 1) for line in path.read_text().splitlines())
        self.shapes = {key: tuple(map(int, re.findall(r"\d+", shape))) for key, shape in lines}

    def shape(self, key: str) -> tuple[int, ...]:
        return self.shapes[key]

    def read(self, key: str) -> torch.Tensor:
        raise AssertionError("only shapes are compared")


class Given(dict[str, torch.Tensor]):
    def read(self, key: str) -> torch.Tensor:
        return self[key]

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self[key].shape)


def full_size() -> list[tuple[str, Renames, type[nn.Module], object, int]]:
    return [
        ("mimi_keys.txt", MIMI_RENAMES, Mimi, MimiConfig(), 318),
        ("moshi_keys.txt", MOSHI_RENAMES, Moshi, MoshiConfig(), 355),
    ]


@pytest.mark.parametrize(("listed", "renames", "kind", "config", "num_published"), full_size())
def test_every_key_and_shape_of_the_published_models_is_ours(
    listed: str, renames: Renames, kind: type[nn.Module], config: object, num_published: int
) -> None:
    """One missing or unknown key, and the published weights cannot be loaded."""
    with torch.device("meta"):
        model = kind(config)
    published = Listed(ASSETS / listed)
    found = {name: source.shape(published) for name, source in sources(published.shapes, renames).items()}
    assert found == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(published_state(model)) == num_published


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("encoder.model.0.conv.conv.weight", "encoder.model.0.weight"),
        ("decoder.model.2.convtr.convtr.bias", "decoder.model.2.bias"),
        ("decoder.model.3.block.1.conv.conv.bias", "decoder.model.3.block.1.bias"),
        ("downsample.conv.conv.conv.weight", "downsample.weight"),
        ("upsample.convtr.convtr.convtr.weight", "upsample.weight"),
        ("q.layers.0._codebook.inited", "q.layers.0._codebook._initialized"),
        ("q.layers.0._codebook.cluster_size", "q.layers.0._codebook.cluster_usage"),
        ("q.layers.0._codebook.embed_avg", "q.layers.0._codebook.embedding_sum"),
        ("q.layers.0._codebook.embed_sum", "q.layers.0._codebook.embedding_sum"),
        ("t.layers.0.self_attn.in_proj_weight", "t.layers.0.self_attn.in_proj.weight"),
        ("t.layers.0.self_attn.in_proj_weight_scb", "t.layers.0.self_attn.in_proj.weight_scb"),
        ("t.layers.0.self_attn.in_projs.0.weight", "t.layers.0.self_attn.in_proj.weight"),
        ("t.layers.0.self_attn.out_proj.weight", "t.layers.0.self_attn.out_proj.weight"),
        ("t.layers.0.self_attn.in_projs.0.lora_A.weight", "t.layers.0.self_attn.in_proj.lora_A.weight"),
        ("t.layers.0.gating.linear_in.frozen_W.weight", "t.layers.0.gating.linear_in.weight"),
    ],
)
def test_a_published_spelling_has_one_name_here(key: str, name: str) -> None:
    """The table at the top of names.py, line by line."""
    assert list(sources([key], MIMI_RENAMES)) == [name]


def test_sets_of_a_projection_are_stacked_in_the_order_of_their_numbers() -> None:
    """Set 10 comes after set 9, in whichever order a file lists them."""
    keys = [f"a.out_projs.{index}.weight" for index in (10, 0, 2, 1, 3, 4, 5, 6, 7, 8, 9)]
    given = Given({key: torch.full((2, 3), float(key.split(".")[2])) for key in keys})
    stacked = sources(keys, MOSHI_RENAMES)["a.out_proj.weight"]
    assert stacked.shape(given) == (22, 3)
    assert stacked.read(given)[:, 0].tolist() == [float(index // 2) for index in range(22)]


@pytest.mark.parametrize(
    "keys",
    [
        ["a.in_proj_weight", "a.in_proj.weight"],
        ["a.in_projs.0.weight", "a.in_proj.weight"],
        ["a.in_projs.0.weight", "a.in_projs.2.weight"],
        ["a.weight_v"],
        ["a.weight_v", "a.weight_g", "a.weight"],
    ],
)
def test_keys_that_make_no_single_tensor_are_refused(keys: list[str]) -> None:
    """Taking the last of two, or half of a weight norm, would load a wrong model."""
    with pytest.raises(CheckpointError):
        sources(keys, MOSHI_RENAMES)


def test_a_weight_norm_is_multiplied_out() -> None:
    """As torch's own parametrization has it."""
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 5))
    g, v = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
    given = Given({"c.weight_g": g.detach() * 2, "c.weight_v": v.detach()})
    source = sources(given, MIMI_RENAMES)["c.weight"]
    assert source.shape(given) == (4, 3, 5)
    torch.testing.assert_close(source.read(given), conv.weight.detach() * 2)


@pytest.mark.parametrize(
    ("model", "renames"), [(Mimi(TINY_MIMI), MIMI_RENAMES), (Moshi(TINY_MOSHI), MOSHI_RENAMES)]
)
def test_what_is_written_is_read_back_under_the_same_names(model: nn.Module, renames: Renames) -> None:
    """Training writes with `published_state` and serves with `sources`."""
    given = Given(published_state(model))
    read = {name: source.read(given) for name, source in sources(given, renames).items()}
    expected = model.state_dict()
    assert read.keys() == expected.keys()
    assert all(tensor.equal(expected[name]) for name, tensor in read.items())
