"""Streams through the package's networks, with the state that the package forgets.

audioseal 0.2.0 starts a stream on the encoder alone and hands it to direct children; the convolutions sit
inside `nn.Sequential`, which hands nothing on, so each chunk is computed as if nothing had come before
(upstream issue 105; tests/watermark/audioseal/test_streaming.py fails when that changes). Here every part
of every network gets a state of its own.

The package keeps states in its modules; here they belong to the stream and are lent to the modules for one
call. One lock for each pair of networks, so streams of several threads take turns.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PartStates = list[Any]


class StreamedNetwork:
    """A function of networks, run chunk by chunk: `push(states, chunk)` continues where it left off."""

    def __init__(self, networks: list[nn.Module], run: Callable[..., Tensor]) -> None:
        self._parts: list[Any] = [
            part for network in networks for part in network.modules() if _streams(part)
        ]
        self._run = run
        self._lock = threading.Lock()

    def open(self) -> PartStates:
        """States of one stream, before its first sample."""
        states = [part._init_streaming_state(1) for part in self._parts]
        for state in states:
            state.init_stream()
        return states

    @torch.inference_mode()
    def push(self, states: PartStates, *chunk: Tensor) -> Tensor:
        """What the networks make of the next whole frames. Changes `states`."""
        with self._lock, self._lent(states):
            return self._run(*chunk)

    @contextmanager
    def _lent(self, states: PartStates) -> Iterator[None]:
        for part, state in zip(self._parts, states, strict=True):
            part._streaming_state = state
        try:
            yield
        finally:
            for part in self._parts:
                part._streaming_state = part._empty_state()


def _streams(part: nn.Module) -> bool:
    return hasattr(part, "_init_streaming_state")
