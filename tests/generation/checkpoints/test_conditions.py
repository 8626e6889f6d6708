"""Conditions of a model: one vector for each row."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.checkpoints import Checkpoint, load_conditions, load_moshi, usual_conditions
from generation.errors import CheckpointError
from generation.moshi import Sampling, Stepper
from generation.moshi.conditions import Conditions
from tests.generation.tiny import write_tiny_checkpoint

CONDITIONERS: dict[str, Any] = {
    "description": {
        "type": "lut",
        "lut": {"n_bins": 2, "dim": 3, "possible_values": ["very_bad", "very_good"]},
    },
    "place": {"type": "lut", "lut": {"n_bins": 7, "dim": 3, "tokenizer": "noop", "learn_padding": False}},
    "voice": {"type": "tensor", "tensor": {"dim": 32, "force_linear": False}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny checkpoint with three conditions: whole numbers as weights, so that sums are exact."""
    write_tiny_checkpoint(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    fields |= {"conditioners": CONDITIONERS, "fuser": {"sum": list(CONDITIONERS), "prepend": [], "cross": []}}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    one = "condition_provider.conditioners."
    more = {
        one + "description.embed.weight": torch.arange(9.0).view(3, 3),
        one + "description.output_proj.weight": torch.eye(32, 3),
        one + "description.learnt_padding": torch.full((1, 1, 32), 5.0),
        one + "place.embed.weight": torch.ones(8, 3),
        one + "place.output_proj.weight": torch.ones(32, 3),
        one + "voice.learnt_padding": torch.full((1, 1, 32), 100.0),
    }
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | more, path)
    return tmp_path


def loaded(folder: Path) -> Conditions:
    conditions = load_conditions(Checkpoint.open(folder))
    assert conditions is not None
    return conditions


def test_what_is_given_is_added_up_and_what_is_not_has_its_default(folder: Path) -> None:
    """By hand: a row of the table, its map, and the learnt vectors of what is missing."""
    rows = [{"description": "very_good", "place": "here", "voice": torch.full((32,), 0.5)}, {}]
    condition_B1E = loaded(folder)(rows)
    assert condition_B1E.shape == (2, 1, 32) and condition_B1E.dtype == torch.float32
    assert condition_B1E[0, 0, :4].tolist() == [3 + 3 + 0.5, 4 + 3 + 0.5, 5 + 3 + 0.5, 3 + 0.5]
    assert condition_B1E[1].eq(105).all()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"description": "loud"}, "one of very_bad, very_good, not 'loud'"),
        ({"mood": "good"}, "no condition mood"),
        ({"voice": torch.zeros(31)}, "a vector of 32"),
        ({"voice": "low"}, "a vector of 32"),
        ({"place": torch.zeros(3)}, "a text"),
    ],
)
def test_a_value_that_there_is_not_is_refused(folder: Path, row: dict[str, Any], said: str) -> None:
    """The published code takes padding for some of these."""
    with pytest.raises(ValueError, match=said):
        loaded(folder)([row])


def test_a_condition_changes_what_is_said(folder: Path) -> None:
    """The stepper adds it to every input."""
    moshi, conditions = load_moshi(Checkpoint.open(folder)), loaded(folder)
    answers = []
    for row in ({"place": "here"}, {"voice": torch.full((32,), -50.0)}):
        stepper = Stepper(moshi, 1, condition_B1E=conditions([row]))
        state = stepper.open()
        stepper.begin_row(state, 0, Sampling.greedy(), None)
        heard_BK = torch.zeros(1, 8, dtype=torch.long)
        answers.append([stepper.push(state, heard_BK).tokens_BR.tolist() for _ in range(4)])
    assert answers[0] != answers[1]


def test_a_type_without_usual_conditions_says_that_they_must_be_given(folder: Path) -> None:
    """Only Hibiki's are published."""
    with pytest.raises(CheckpointError, match=r"needs conditions \(description, place, voice\)"):
        usual_conditions(Checkpoint.open(folder), loaded(folder), 1)


def test_weights_of_conditions_that_are_not_described_are_refused(folder: Path) -> None:
    """And a model without conditions has none to load."""
    fields = json.loads((folder / "config.json").read_text())
    del fields["conditioners"]["voice"]
    fields["fuser"]["sum"].remove("voice")
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"unknown conditioners\.voice\.learnt_padding"):
        loaded(folder)


def test_a_model_without_conditions_has_none(tmp_path: Path) -> None:
    """As Moshi itself."""
    assert load_conditions(Checkpoint.open(write_tiny_checkpoint(tmp_path))) is None
