"""A full service says so at once, and who has gone does not keep a place."""

import threading
from contextlib import ExitStack
from contextvars import ContextVar

import anyio
import pytest
from starlette.requests import ClientDisconnect, Request

from api.errors import Busy
from api.workers import MAX_FETCHES, Workers, while_connected


class Client:
    """A request whose body has been read, and a way to go away."""

    def __init__(self) -> None:
        self.gone = anyio.Event()
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_a_place_is_given_back_also_after_an_error() -> None:
    workers = Workers(num_workers=1, max_waiting=1)
    with workers.admit(), workers.admit(), pytest.raises(Busy), workers.admit():
        pass
    with pytest.raises(ZeroDivisionError), workers.admit():
        raise ZeroDivisionError
    with workers.admit(), workers.admit():
        pass


def test_work_runs_in_a_thread_and_its_errors_come_through() -> None:
    async def run() -> None:
        workers = Workers(1, 0)
        thread = await workers.run(Client().request, threading.get_ident)
        assert thread != threading.get_ident()
        with pytest.raises(ValueError, match="'x'"):
            await workers.run(Client().request, int, "x")
        assert await workers.run(Client().request, int, "7") == 7

    anyio.run(run)


def test_all_work_is_done_by_the_same_few_threads_however_busy_the_others_are() -> None:
    """A thread keeps the peak of what it worked on, and the pool that light requests use has 40: with any of
    them taken, the memory of a server under mixed load grew with each that got its first large file."""
    threads, release = set(), threading.Event()

    async def run() -> None:
        workers = Workers(2, 8)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(anyio.to_thread.run_sync, release.wait)
                await anyio.wait_all_tasks_blocked()
                threads.add(await workers.run(Client().request, threading.get_ident))
            release.set()
            await anyio.to_thread.run_sync(threading.Event().wait, 0.1)  # now the pool has idle threads
            for _ in range(5):
                threads.add(await workers.run(Client().request, threading.get_ident))
                group.start_soon(anyio.to_thread.run_sync, threading.Event().wait, 0.05)
                await anyio.wait_all_tasks_blocked()
        workers.close()

    anyio.run(run)
    assert len(threads) <= 2


def test_work_knows_which_request_it_is_for() -> None:
    """Its log lines have the request's number, which is a context variable."""
    number: ContextVar[int] = ContextVar("number")

    async def run() -> None:
        workers = Workers(1, 0)
        for expected in (7, 8):
            number.set(expected)
            assert await workers.run(Client().request, number.get) == expected
        workers.close()

    anyio.run(run)


def test_no_more_than_the_workers_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.02)
        with lock:
            running -= 1

    async def run() -> None:
        workers = Workers(2, 8)
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(workers.run, Client().request, work)

    anyio.run(run)
    assert most == 2


def test_a_client_that_goes_away_while_waiting_is_never_worked_for() -> None:
    """Without this a queue of impatient clients is worked through for nobody."""
    release, ran = threading.Event(), []

    async def run() -> None:
        workers, first, second = Workers(1, 1), Client(), Client()
        async with anyio.create_task_group() as group:
            group.start_soon(workers.run, first.request, release.wait)
            await anyio.wait_all_tasks_blocked()

            async def impatient() -> None:
                with pytest.raises(ClientDisconnect):
                    await workers.run(second.request, ran.append, 2)

            group.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            second.gone.set()
            await anyio.wait_all_tasks_blocked()
            release.set()
        # The worker is free again.
        await workers.run(Client().request, ran.append, 3)

    anyio.run(run)
    assert ran == [3]


def test_what_is_awaited_for_a_client_that_goes_away_is_cancelled() -> None:
    """A slow server elsewhere must not hold a place for nobody."""
    cancelled = []

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async def run() -> None:
        client = Client()
        async with anyio.create_task_group() as group:

            async def fetch() -> None:
                with pytest.raises(ClientDisconnect):
                    await while_connected(client.request, forever)

            group.start_soon(fetch)
            await anyio.wait_all_tasks_blocked()
            client.gone.set()

    anyio.run(run)
    assert cancelled == [True]


def test_what_is_awaited_comes_through_result_or_error() -> None:
    async def seven() -> int:
        return 7

    async def broken() -> int:
        raise ZeroDivisionError

    async def run() -> None:
        assert await while_connected(Client().request, seven) == 7
        with pytest.raises(ZeroDivisionError):
            await while_connected(Client().request, broken)

    anyio.run(run)


def test_fetches_have_places_of_their_own() -> None:
    workers = Workers(num_workers=1, max_waiting=0)
    with ExitStack() as places:
        for _ in range(MAX_FETCHES):
            places.enter_context(workers.admit_fetch())
        with pytest.raises(Busy), workers.admit_fetch():
            pass
        with workers.admit():
            assert (workers.num_places, workers.num_taken, workers.num_waiting) == (1, 1, 0)
    with workers.admit_fetch():
        assert workers.num_taken == 0
