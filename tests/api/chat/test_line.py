"""First come, first served, and every position that is told is true."""

import anyio
import pytest

from api.chat.errors import LineFull
from api.chat.line import Line


def test_positions_count_from_the_front_and_seats_go_in_order() -> None:
    async def run() -> None:
        line = Line(num_seats=1, max_waiting=3)
        with line.join() as seated, line.join() as first, line.join() as second, line.join() as third:
            assert [one.position for one in (seated, first, second, third)] == [0, 1, 2, 3]
            seated.leave()
            await first.moved()
            await third.moved()
            assert [one.position for one in (first, second, third)] == [0, 1, 2]
            second.leave()  # goes away while waiting
            await third.moved()
            assert third.position == 1 and line.num_waiting == 1
            first.leave()
            await third.moved()
            assert third.position == 0
        with line.join() as again:
            assert again.position == 0

    anyio.run(run)


def test_a_full_line_says_so_and_takes_who_comes_later() -> None:
    line = Line(num_seats=2, max_waiting=1)
    with line.join(), line.join() as seated, line.join() as waiting:
        with pytest.raises(LineFull, match="1 others"), line.join():
            pass
        seated.leave()
        assert waiting.position == 0
        with line.join() as late:
            assert late.position == 1


def test_leaving_twice_gives_one_seat() -> None:
    """Two seats for one would put a third client on a row that does not exist."""
    line = Line(num_seats=1, max_waiting=2)
    with line.join() as seated, line.join() as first, line.join() as second:
        seated.leave()
        seated.leave()
        assert (first.position, second.position) == (0, 1)
