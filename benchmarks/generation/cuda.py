"""The GPU part: the 7B shapes in bfloat16 with random weights, the step captured as a graph on both sides.

Needs one GPU: 20 GB for batch 1 of one side, 40 GB for the race of both. Memory is measured one side at a
time.
"""

import gc
from contextlib import nullcontext
from typing import Any

import torch

from benchmarks.generation.race import measure, race
from generation.graphs import Recorded
from generation.moshi import Moshi, MoshiConfig, Stepper
from generation.moshi.stepper import Step
from tests.generation import oracle

BYTES_PER_STEP = 14.75e9  # weights of the 7B model that a step touches, in bfloat16
BANDWIDTH_BYTES_PER_S = {"H100": 3.35e12, "H200": 4.8e12, "A100": 2.0e12, "L4": 0.3e12}


def language_model(num_turns: int) -> list[dict[str, Any]]:
    """Step time against the package at batch 1 and against the bandwidth floor; memory; batches."""
    rows = [_step_time(num_turns)]
    rows += [_memory(batch_size) for batch_size in (1, 2)]
    rows += [_throughput(batch_size, num_turns) for batch_size in (8, 32)]
    return rows


def _ours() -> Moshi:
    with torch.device("meta"):
        moshi = Moshi(MoshiConfig())
    moshi = moshi.to(torch.bfloat16).to_empty(device="cuda")
    for parameter in moshi.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    return moshi.prepare()


class _Stepped:
    """A stepper whose step is one graph, as `Dialogue` records it."""

    def __init__(self, batch_size: int) -> None:
        self.stepper = Stepper(_ours(), batch_size)
        self.state = self.stepper.open()
        device = self.stepper.model.device
        self.heard_BK = torch.zeros(batch_size, 8, dtype=torch.long, device=device)
        self.step = Recorded(self._run, nullcontext, device)

    def _run(self, num_slots: int) -> Step:
        return self.stepper.push(self.state, self.heard_BK, num_slots=num_slots)


def _step_time(num_turns: int) -> dict[str, Any]:
    loaders, lm = oracle.models(compiled=True)
    theirs = lm.LMModel(**loaders._lm_kwargs, device="cuda", dtype=torch.bfloat16).eval()
    generate = lm.LMGen(theirs)
    ours = _Stepped(1)
    heard = torch.zeros(1, 8, 1, dtype=torch.long, device="cuda")
    with generate.streaming(1):
        result = race(lambda: ours.step(3000), lambda: generate.step(heard), num_turns, num_warm_ups=10)
    name = torch.cuda.get_device_name()
    bandwidth = next((value for key, value in BANDWIDTH_BYTES_PER_S.items() if key in name), None)
    floor_ms = None if bandwidth is None else BYTES_PER_STEP / bandwidth * 1e3
    return {
        "part": f"7B, bfloat16, batch 1, one step on {name}",
        "goal": "<= 0.8x, <= 2.5x the bandwidth floor",
        "ours_ms": result.ours_ms,
        "theirs_ms": result.theirs_ms,
        "ratio": result.ratio,
        "details": {"floor_ms": floor_ms, "of_floor": floor_ms and result.ours_ms / floor_ms},
    }


def _memory(batch_size: int) -> dict[str, Any]:
    _forget()
    ours = _Stepped(batch_size)
    for _ in range(3):
        ours.step(3000)
    peak_gb = torch.cuda.max_memory_allocated() / 1e9
    return {
        "part": f"7B, bfloat16, batch {batch_size}, peak memory",
        "goal": "24 GB",
        "details": {"gb": peak_gb},
    }


def _throughput(batch_size: int, num_turns: int) -> dict[str, Any]:
    _forget()
    ours = _Stepped(batch_size)
    step_ms = measure(lambda: ours.step(3000), num_turns, num_warm_ups=5)
    return {
        "part": f"7B, bfloat16, batch {batch_size}, one step",
        "goal": "<= 80 ms",
        "ours_ms": step_ms,
        "details": {"steps_per_s": batch_size * 1e3 / step_ms},
    }


def _forget() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
