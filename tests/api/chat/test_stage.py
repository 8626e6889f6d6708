"""The one thread with the model: rows step together, leave at once, and a failure stays where it is."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from api.chat.errors import ServerFault, ServerStopping
from api.chat.stage import Stage
from generation import Sampling
from tests.api.chat.parrot import FRAME_SAMPLES, Parrot

FRAME = np.zeros(FRAME_SAMPLES, np.float32)


@contextmanager
def started(parrot: Parrot) -> Iterator[Stage]:
    stage = Stage(lambda: parrot)
    stage.start()
    try:
        yield stage
    finally:
        stage.stop()


def enter(stage: Stage, seed: int | None = None) -> int:
    return stage.enter(seed=seed, sampling=Sampling()).result(5)


def test_frames_of_a_row_are_stepped_in_order_and_the_first_warms_up() -> None:
    with started(Parrot()) as stage:
        assert (stage.name, stage.num_rows) == ("parrot", 1)
        row = enter(stage)
        said = [stage.submit(row, FRAME) for _ in range(5)]
        results = [one.result(5) for one in said]
        assert results[0] is None
        lines = np.concatenate([one.speech_T for one in results[1:] if one])
        np.testing.assert_array_equal(lines, Parrot()._lines_FT[:4].ravel())


def test_while_a_step_runs_the_other_rows_come_together() -> None:
    """Rows that step one after the other would halve what a batch is for."""
    parrot = Parrot(3)
    with started(parrot) as stage:
        rows = [enter(stage) for _ in range(3)]
        running, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            running.set()
            go_on.wait(5)

        parrot.on_step = hold
        first = stage.submit(rows[0], FRAME)
        assert running.wait(5)
        others = [stage.submit(row, FRAME) for row in rows]
        go_on.set()
        for one in [first, *others]:
            one.result(5)
        assert parrot.batches == [[0], [0, 1, 2]]


def test_a_row_that_is_left_is_free_for_the_next_before_any_other_step() -> None:
    parrot = Parrot(1)
    with started(parrot) as stage:
        row = enter(stage)
        for _ in range(3):
            stage.submit(row, FRAME).result(5)
        waiting = stage.submit(row, FRAME)
        stage.leave(row)
        again = stage.enter(seed=7, sampling=Sampling(top_k=3))
        assert again.result(5) == row
        assert waiting.cancelled() or waiting.result(5) is not None
        assert stage.submit(row, FRAME).result(5) is None  # a fresh row warms up again
        assert parrot.opened[-1] == (row, 7, Sampling(top_k=3))


def test_a_step_that_fails_fails_its_rows_and_the_stage_goes_on() -> None:
    parrot = Parrot(2)

    def fail() -> None:
        raise RuntimeError("out of memory")

    with started(parrot) as stage:
        row = enter(stage)
        parrot.on_step = fail
        with pytest.raises(ServerFault):
            stage.submit(row, FRAME).result(5)
        parrot.on_step = lambda: None
        stage.leave(row)
        assert stage.submit(enter(stage), FRAME).result(5) is None


def test_too_many_rows_are_an_error_of_that_caller_alone() -> None:
    with started(Parrot(1)) as stage:
        row = enter(stage)
        with pytest.raises(ServerFault):
            enter(stage)
        assert stage.submit(row, FRAME).result(5) is None


def test_stopping_refuses_what_waits_and_leaves_no_thread() -> None:
    """A future that nobody ever answers would hang its session, and with it the server's end."""
    parrot = Parrot(1, step_s=0.2)
    with started(parrot) as stage:
        row = enter(stage)
        said = [stage.submit(row, FRAME) for _ in range(4)]
        time.sleep(0.05)
        stage.stop()
        assert not stage.is_alive
        for one in said[1:]:
            with pytest.raises(ServerStopping):
                one.result(0)
        for late in (stage.submit(row, FRAME), stage.enter(seed=None, sampling=Sampling())):
            with pytest.raises(ServerStopping):
                late.result(0)
        stage.leave(row)


def test_a_model_that_does_not_load_is_what_start_raises() -> None:
    def fail() -> Parrot:
        raise OSError("no such file")

    stage = Stage(fail)
    with pytest.raises(OSError, match="no such file"):
        stage.start()
    stage.stop()
