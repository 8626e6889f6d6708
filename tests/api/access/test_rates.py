"""Moving windows: never more than the limit within any minute, and nothing is remembered for longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.accounts import ANONYMOUS, Caller, Visitor
from api.access.rates import MovingWindow, Rates, network
from api.errors import TooManyRequests


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_window_of_a_minute_holds_more_than_the_limit(waits_s: list[float], limit: int) -> None:
    clock, granted = Clock(), []
    window = MovingWindow(limit, 60.0, clock)
    for wait_s in waits_s:
        clock.now_s += wait_s
        in_window = [at for at in granted if at > clock.now_s - 60.0]
        free = window.wait_s("a") == 0
        assert free == (len(in_window) < limit), "a takes exactly what the definition gives"
        if free:
            window.take("a")
            granted.append(clock.now_s)


def test_the_wait_that_is_told_is_long_enough_and_no_longer() -> None:
    clock = Clock()
    window = MovingWindow(2, 60.0, clock)
    window.take("a")
    clock.now_s += 10
    window.take("a")
    assert window.wait_s("a") == pytest.approx(50)
    assert window.wait_s("b") == 0
    clock.now_s += 50
    assert window.wait_s("a") == 0


def test_names_are_forgotten_when_their_minute_is_over() -> None:
    """An attacker with many addresses must not fill the memory."""
    clock = Clock()
    window = MovingWindow(3, 60.0, clock)
    for number in range(1000):
        window.take(str(number))
    assert len(window) == 1000
    clock.now_s += 61
    window.take("last")
    assert len(window) == 1


def test_a_name_that_never_rests_keeps_no_more_than_its_minute() -> None:
    """With a limit that nobody reaches, every request of a busy client was kept: 32 bytes each."""
    clock = Clock()
    window = MovingWindow(1_000_000, 60.0, clock)
    for _ in range(1000):
        clock.now_s += 1
        window.take("a")
    assert len(window._taken["a"]) == 60
    assert window.wait_s("a") == 0


def keyed(key_id: str, address: str = "192.0.2.1") -> Visitor:
    return Visitor(Caller(key_id, frozenset()), address)


def test_keys_addresses_and_everyone_have_limits_of_their_own() -> None:
    rates = Rates(per_key=2, per_address=1, everyone=5, wrong_keys=9)
    nobody = Visitor(ANONYMOUS, "192.0.2.1")
    rates.take(nobody)
    with pytest.raises(TooManyRequests, match="you have") as refused:
        rates.take(nobody)
    assert 1 <= refused.value.retry_after_s <= 60
    rates.take(Visitor(ANONYMOUS, "192.0.2.2"))
    rates.take(keyed("a"))
    rates.take(keyed("a"))
    with pytest.raises(TooManyRequests, match="you have"):
        rates.take(keyed("a"))
    rates.take(keyed("b"))
    with pytest.raises(TooManyRequests, match="this service has"):
        rates.take(keyed("c"))


def test_a_refused_request_counts_nowhere() -> None:
    """Otherwise one impatient client uses up everyone's limit."""
    rates = Rates(per_key=9, per_address=1, everyone=3, wrong_keys=9)
    nobody = Visitor(ANONYMOUS, "192.0.2.1")
    rates.take(nobody)
    for _ in range(10):
        with pytest.raises(TooManyRequests):
            rates.take(nobody)
    rates.take(keyed("a"))
    rates.take(keyed("a"))


def test_wrong_keys_are_counted_by_address() -> None:
    rates = Rates(9, 9, 9, wrong_keys=3)
    visitor, other = Visitor(ANONYMOUS, "192.0.2.1"), Visitor(ANONYMOUS, "192.0.2.2")
    for _ in range(3):
        rates.check_wrong_keys(visitor)
        rates.count_wrong_key(visitor)
    with pytest.raises(TooManyRequests, match="wrong API keys"):
        rates.check_wrong_keys(visitor)
    rates.check_wrong_keys(other)


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("testclient", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_counts_as_its_customer(address: str | None, counts_as: str) -> None:
    assert network(address) == counts_as
