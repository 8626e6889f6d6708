"""SIGTERM under load: everything that was acknowledged is in the registry, and nothing is left half done."""

from benchmarks.stopping import run_round


def test_a_stop_under_load_loses_nothing() -> None:
    """A file that left without its finished row could later be denied; more rounds:
    benchmarks/stopping.py."""
    outcome = run_round(after_s=1.5)
    assert outcome.is_clean, outcome
    assert outcome.unanswered, "the load went on until the stop"
