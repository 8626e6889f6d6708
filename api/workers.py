"""Heavy work off the event loop: a few worker threads, a short queue before them, and a clear no when it is
full.

    async with workers.admit():                       # Busy when every place is taken
        data = await read_body(...)
        result = await workers.run(request, function, data)

A place is held from before the body is read until the answer is ready, so that memory is bounded by
(workers + waiting) bodies. A client that goes away gives up its place while it waits for a worker; work
that has begun in a thread cannot be stopped and is finished, and its result dropped.

The threads are these and no others: a thread keeps the peak of whatever it has ever worked on (some 60 MB
for a minute of speech; `api.allocator`), and the event loop's own pool has up to 40 of them, any of which it
would give the work to."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

from api.errors import Busy

T = TypeVar("T")

MAX_FETCHES = 4
"""Files fetched at once; each may hold a body's worth of memory beside the places."""


class Workers:
    """Bounded workers of one event loop. Not shared between loops."""

    def __init__(self, num_workers: int, max_waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(num_workers)
        self._threads = ThreadPoolExecutor(num_workers, "worker")
        self._num_places = self._num_free = num_workers + max_waiting
        self._num_fetches_free = MAX_FETCHES

    def close(self) -> None:
        """End the threads, once they have finished what they are at. Blocks; may be repeated."""
        self._threads.shutdown()

    @property
    def num_places(self) -> int:
        """Requests that may be in progress at once."""
        return self._num_places

    @property
    def num_taken(self) -> int:
        """Requests in progress: read, waiting for a worker, or worked on."""
        return self._num_places - self._num_free

    @property
    def num_waiting(self) -> int:
        """Requests that have been read and wait for a worker."""
        return self._limiter.statistics().tasks_waiting

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Take a place, or raise Busy at once. No await inside, so counting needs no lock."""
        if self._num_free == 0:
            raise Busy("the service is working on as many files as it can; send this one again in a moment")
        self._num_free -= 1
        try:
            yield
        finally:
            self._num_free += 1

    @contextmanager
    def admit_fetch(self) -> Iterator[None]:
        """Take one of the places for fetching a file, or raise Busy at once."""
        if self._num_fetches_free == 0:
            raise Busy("the service is fetching as many files as it can; send this again in a moment")
        self._num_fetches_free -= 1
        try:
            yield
        finally:
            self._num_fetches_free += 1

    async def run(self, request: Request, function: Callable[..., T], *args: object) -> T:
        """Run `function(*args)` in a worker thread. Raises what it raises, and ClientDisconnect.

        The request's body must have been read to its end: what comes next on its channel is the disconnect.
        """
        borrower, acquired = object(), False
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, request, group.cancel_scope)
            await self._limiter.acquire_on_behalf_of(borrower)
            acquired = True
            group.cancel_scope.cancel()  # ends the watcher: nothing else is awaited in this block
        if not acquired:
            raise ClientDisconnect
        try:
            here, loop = contextvars.copy_context(), asyncio.get_running_loop()
            work = loop.run_in_executor(self._threads, here.run, function, *args)
            with anyio.CancelScope(shield=True):  # the worker is taken until the thread is done
                await asyncio.wait([work])
            return work.result()
        finally:
            self._limiter.release_on_behalf_of(borrower)


async def while_connected(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """`await work()`, cancelled when the client goes away. Raises what it raises, and ClientDisconnect.

    The request's body must have been read to its end, as for `Workers.run`.
    """
    results: list[T] = []
    failures: list[Exception] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_gone, request, group.cancel_scope)
        try:
            results.append(await work())
        except Exception as exc:  # raised below: out of the group it would come wrapped
            failures.append(exc)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise ClientDisconnect
    return results[0]


async def _cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
