"""CUDA graphs: record the kernels of a step once, replay them with one launch.

    step = Recorded(function, still)
    step(key)           # function(key), eagerly where there is no CUDA; else recorded at its first use

The function reads its inputs from tensors that live as long as the recording, writes states in place, and
waits for nothing on the device. Recording runs it a few times: `still` is called before and makes those
runs change no stream. What it returns is the memory that the next replay overwrites.
Source: PyTorch documentation, "CUDA Graphs"; differs from kyutai-labs/moshi, utils/compile.py: one graph
for the whole step, codec included, and one for each key. Not run on a GPU yet: the machine this was written
on has none.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

NUM_WARM_UPS = 2  # kernels are chosen and memory is reserved in the first runs, which a graph cannot hold


class Recorded(Generic[T]):
    """A function of one small number, replayed on CUDA."""

    def __init__(
        self,
        function: Callable[[int], T],
        still: Callable[[], AbstractContextManager[None]],
        device: torch.device,
    ) -> None:
        self._function, self._still, self._device = function, still, device
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, T]] = {}

    def __call__(self, key: int) -> T:
        if self._device.type != "cuda":
            return self._function(key)
        if key not in self._graphs:
            self._graphs[key] = self._record(key)
        graph, outputs = self._graphs[key]
        graph.replay()
        return outputs

    def _record(self, key: int) -> tuple[torch.cuda.CUDAGraph, T]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), self._still():
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(NUM_WARM_UPS):
                    self._function(key)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                outputs = self._function(key)
        return graph, outputs
