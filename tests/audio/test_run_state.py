"""A training goes on from its file exactly as it was."""

from pathlib import Path

import torch
from torch import nn

from audio import run_state


def _adam(module: nn.Module) -> torch.optim.Optimizer:
    adam = torch.optim.AdamW(module.parameters(), lr=0.1)
    torch.autograd.backward(module(torch.ones(1, 2)).sum())
    adam.step()
    return adam


def test_modules_moments_and_counters_come_back(tmp_path: Path) -> None:
    """Without the moments the first steps of a resumed run are far too long."""
    module = nn.Linear(2, 2)
    adam = _adam(module)
    run_state.save(tmp_path / "run.safetensors", {"a": module}, {"a": adam}, {"step": 7})
    other = nn.Linear(2, 2)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert run_state.load(tmp_path / "run.safetensors", {"a": other}, {"a": fresh}, "cpu") == {"step": 7}
    assert torch.equal(other.weight, module.weight)
    assert torch.equal(fresh.state[other.weight]["exp_avg"], adam.state[module.weight]["exp_avg"])


def test_a_part_that_the_file_does_not_know_stays_as_it_is(tmp_path: Path) -> None:
    """A later stage adds a discriminator to a run that had none."""
    run_state.save(tmp_path / "run.safetensors", {"a": nn.Linear(2, 2)}, {}, {})
    new = nn.Linear(3, 3)
    before = new.weight.clone()
    run_state.load(
        tmp_path / "run.safetensors", {"new": new}, {"new": torch.optim.AdamW(new.parameters())}, "cpu"
    )
    assert torch.equal(new.weight, before)
