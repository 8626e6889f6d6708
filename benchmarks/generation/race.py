"""Two ways of doing the same step, turn by turn."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Step = Callable[[], object]


@dataclass(frozen=True)
class Race:
    """Medians over the same turns."""

    ours_ms: float
    theirs_ms: float

    @property
    def ratio(self) -> float:
        return self.ours_ms / self.theirs_ms


@torch.no_grad()
def race(ours: Step, theirs: Step, num_turns: int, num_warm_ups: int) -> Race:
    """Step both `num_turns` times; the warm-ups come first and are not counted."""
    times_ms: tuple[list[float], list[float]] = ([], [])
    for _ in range(num_warm_ups + num_turns):
        for step, kept_ms in zip((ours, theirs), times_ms, strict=True):
            wait()
            started_s = time.perf_counter()
            step()
            wait()
            kept_ms.append((time.perf_counter() - started_s) * 1e3)
    ours_ms, theirs_ms = (statistics.median(kept_ms[num_warm_ups:]) for kept_ms in times_ms)
    return Race(ours_ms, theirs_ms)


def wait() -> None:
    """Until the GPU has done what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(step: Step, num_turns: int, num_warm_ups: int) -> float:
    """Median milliseconds of one way alone."""
    return race(step, lambda: None, num_turns, num_warm_ups).ours_ms
