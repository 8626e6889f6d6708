"""The one thread that owns the model: it steps all rows that have a frame together, as fast as frames come.

    stage.start()                                       # loads the model, in the thread
    row = await wrap_future(stage.enter(sampling))
    spoken = await wrap_future(stage.submit(row, frame_T))
    stage.leave(row)

Nobody waits for the others: a step takes whoever has a frame when it begins. While it runs the others' frames
come in, so under load the rows fall into step by themselves. Not here: who gets a row (`line`), how many
frames a session may have under way (`session`)."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from api.chat.errors import ServerFault, ServerStopping
from generation import Sampling, Spoken

log = logging.getLogger(__name__)


class Speaker(Protocol):
    """What the stage needs of `generation.Dialogue`; all of it is called in the stage's thread alone."""

    name: str
    num_streams: int

    def open(self, *, seed: int | None, sampling: Sampling) -> int: ...
    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, Spoken]: ...
    def close(self, row: int) -> None: ...


class Stage:
    """Made on any thread, called from any; `start` and `stop` once each."""

    def __init__(self, load: Callable[[], Speaker]) -> None:
        self.name = ""  # of the model, once started
        self.num_rows = 0
        self._load = load
        self._work = threading.Condition()
        self._calls: deque[tuple[Callable[[Speaker], Any], Future[Any]]] = deque()
        self._frames: dict[int, deque[tuple[NDArray[np.float32], Future[Spoken | None]]]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)
        self._loaded: Future[None] = Future()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Load the model; returns when it can speak. Raises what loading raises."""
        self._thread.start()
        self._loaded.result()

    def stop(self) -> None:
        """End the thread after the step it is in; what still waits fails with ServerStopping."""
        with self._work:
            self._stopping = True
            self._work.notify()
        self._thread.join()

    def enter(self, *, seed: int | None, sampling: Sampling) -> Future[int]:
        """A fresh row. Fails with what the model raises; the caller counts rows (`line`)."""

        def call(speaker: Speaker) -> int:
            row = speaker.open(seed=seed, sampling=sampling)
            with self._work:
                self._frames[row] = deque()
            return row

        return self._later(call)

    def submit(self, row: int, frame_T: NDArray[np.float32]) -> Future[Spoken | None]:
        """The next frame of what the row hears (1920 samples); what the row then says, None while it warms
        up. Frames of a row are stepped in order."""
        spoken: Future[Spoken | None] = Future()
        with self._work:
            if row not in self._frames or self._stopping:
                spoken.set_exception(_stopping())
                return spoken
            self._frames[row].append((frame_T, spoken))
            self._work.notify()
        return spoken

    def leave(self, row: int) -> None:
        """Give the row back, before the next step and before whoever enters next; its frames are dropped."""
        with self._work:
            for _, spoken in self._frames.pop(row, ()):
                spoken.cancel()
        self._later(lambda speaker: speaker.close(row))

    def _later(self, call: Callable[[Speaker], Any]) -> Future[Any]:
        outcome: Future[Any] = Future()
        with self._work:
            if self._stopping:
                outcome.set_exception(_stopping())
            else:
                self._calls.append((call, outcome))
                self._work.notify()
        return outcome

    def _run(self) -> None:
        try:
            speaker = self._load()
            self.name, self.num_rows = speaker.name, speaker.num_streams
        except BaseException as exc:
            self._loaded.set_exception(exc)
            return
        self._loaded.set_result(None)
        while self._turn(speaker):
            pass
        self._refuse_the_rest()

    def _turn(self, speaker: Speaker) -> bool:
        """Wait for work and do it: all calls, then one step. False when the thread is to end."""
        with self._work:
            self._work.wait_for(lambda: self._stopping or self._calls or any(self._frames.values()))
            if self._stopping:
                return False
            calls, self._calls = self._calls, deque()
            taken = {row: waiting.popleft() for row, waiting in self._frames.items() if waiting}
        for call, outcome in calls:
            try:
                outcome.set_result(call(speaker))
            except Exception as exc:
                log.exception("the model failed between steps")
                _fail(outcome, _fault(exc))
        if taken:
            _step(speaker, taken)
        return True

    def _refuse_the_rest(self) -> None:
        with self._work:
            waiting: list[Future[Any]] = [outcome for _, outcome in self._calls]
            waiting += [spoken for frames in self._frames.values() for _, spoken in frames]
            self._calls.clear()
            self._frames.clear()
        for future in waiting:
            _fail(future, _stopping())


def _step(speaker: Speaker, taken: dict[int, tuple[NDArray[np.float32], Future[Spoken | None]]]) -> None:
    """One step of the rows that have a frame. When it fails, all of them fail, and the stage goes on."""
    try:
        said = speaker.step({row: frame_T for row, (frame_T, _) in taken.items()})
    except Exception as exc:
        log.exception("a step of rows %s failed", sorted(taken))
        for _, spoken in taken.values():
            _fail(spoken, _fault(exc))
        return
    for row, (_, spoken) in taken.items():
        with suppress(InvalidStateError):  # its session has left meanwhile
            spoken.set_result(said.get(row))


def _fail(future: Future[Any], exc: Exception) -> None:
    with suppress(InvalidStateError):
        future.set_exception(exc)


def _stopping() -> ServerStopping:
    return ServerStopping("the server is stopping; connect again")


def _fault(exc: Exception) -> ServerFault:
    fault = ServerFault("the model failed; the conversation cannot go on")
    fault.__cause__ = exc
    return fault
