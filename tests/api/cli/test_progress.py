"""The progress line: seen on a terminal, absent everywhere else."""

import io

import pytest

from api.cli.progress import Progress, render


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_when_the_output_is_no_terminal() -> None:
    """A progress bar in a log file is a megabyte of carriage returns."""
    stream = io.StringIO()
    with Progress("building", stream) as progress:
        for done in range(100):
            progress.draw(done, 100)
    assert stream.getvalue() == ""


def test_a_terminal_sees_the_first_and_the_last_step_and_then_an_empty_line() -> None:
    stream = Terminal()
    with Progress("building", stream) as progress:
        for done in range(1001):
            progress.draw(done, 1000)
    written = stream.getvalue()
    assert "(0 of 1000)" in written
    assert "(1000 of 1000)" in written
    assert written.count("\r") < 20, "drawn far more often than ten times a second"
    assert written.endswith("\r") and written.split("\r")[-2].strip() == ""


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (0, 8, "[                              ]   0% (0 of 8)"),
        (4, 8, "[###############               ]  50% (4 of 8)"),
        (8, 8, "[##############################] 100% (8 of 8)"),
        (9, 8, "[##############################] 100% (9 of 8)"),
        (0, 0, "[##############################] 100% (0 of 0)"),
    ],
)
def test_the_bar_shows_the_share_that_is_done(done: int, total: int, shown: str) -> None:
    assert render(done, total) == shown
