"""Random kills of a served service and its database; the full count is `python -m benchmarks.api_kills`."""

import pytest

from benchmarks.api_kills import run
from tests.conftest import reachable_folder

NUM_KILLS = 5


@pytest.mark.slow
def test_a_request_that_is_sent_again_through_kills_gets_one_generation() -> None:
    """Whoever lost an answer must be able to ask again, and what anyone received must be on record."""
    with reachable_folder() as folder:
        result = run(folder, NUM_KILLS, seed=2)
    assert result["problems"] == []
    assert sum(result["kills"].values()) == NUM_KILLS
    assert result["keys answered"] > 0
