"""Commits that fail: lost, or kept by PostgreSQL and reported as failed; one of them, or all from one on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest

from registry.database import Database

KEPT = pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
LASTING = pytest.mark.parametrize("lasting", [False, True], ids=["one", "all from there on"])


class Fault:
    """How many commits there were on this thread, of which the n-th fails."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def failing_commit(database: Database, nth: int, kept: bool, lasting: bool = False) -> Iterator[Fault]:
    """At the border to the driver, so that all of ours is real: the connection ends with its last word not
    heard. The log's own thread is left alone, since it would make the count another one each time.

    `lasting`: every later commit of the block fails in the same way.
    """
    dialect, fault, thread = database.engine.dialect, Fault(), threading.get_ident()
    commit = dialect.do_commit

    def fail(pooled: object) -> None:
        if threading.get_ident() != thread:
            commit(pooled)  # type: ignore[arg-type]
            return
        fault.count += 1
        fails = fault.count == nth or (lasting and fault.count > nth)
        if not fails or kept:
            commit(pooled)  # type: ignore[arg-type]
        if fails:
            pooled.dbapi_connection.close()  # type: ignore[attr-defined]
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect, "do_commit", fail)
        yield fault
