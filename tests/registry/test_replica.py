"""The index of a process beside its database: what a swap may and may not show."""

import pytest

from registry import DatabaseUnavailable, Registry
from registry.database import Database
from tests.registry.plain import speech


def test_a_rebuild_that_cannot_catch_up_leaves_the_index_that_has(registry: Registry) -> None:
    """Who has caught up searches without asking the database again: what it saw must still be there."""
    replica, database = registry.index, registry.index._database

    def commit_then_lose_the_database(*_: int) -> None:
        registry.register(speech(96_000, 1), 24_000)
        replica.catch_up()
        replica._database = Database("postgresql://127.0.0.1:1/none")

    registry.register(speech(96_000, 0), 24_000)
    with pytest.raises(DatabaseUnavailable):
        replica.rebuild(progress=commit_then_lose_the_database)
    replica._database = database
    assert replica.search_again(lambda index: index.position) == replica.status().last_position == 2
