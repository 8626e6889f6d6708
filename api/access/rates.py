"""How often: moving windows for each key, each address, and everyone together.

    rates.take(visitor)        # TooManyRequests, with when to come back

Within any 60 s a name gets at most its limit. A key is counted by its id; whoever has none by address,
IPv6 by its /64, which is one customer. A refused request counts nowhere. One process, one memory: several
servers each count for themselves.

Own code and not the `limits` package: its 5.8.0 memory storage keeps an entry for every address it has ever
seen (threads), or walks all of them through a thread pool at every request (asyncio); docs/decisions/0016.
Here a window that has passed is forgotten with the next request, at constant cost."""

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from api.access.accounts import Visitor
from api.errors import TooManyRequests

WINDOW_S = 60.0
FAILURES = 20
"""Wrong keys from one address in a minute; then no key from there is looked up until the minute has
passed."""
_EVERYONE = "everyone"


class MovingWindow:
    """At most `limit` takes of each name within any `window_s`. For one thread, or one event loop."""

    def __init__(
        self, limit: int, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()  # by last take, oldest first

    def __len__(self) -> int:
        """Names with a take in their window."""
        return len(self._taken)

    def wait_s(self, name: str) -> float:
        """Seconds until `name` may take again; 0 when it may now."""
        now_s = self._clock()
        taken = self._taken.get(name)
        if taken is None or len(taken) < self._limit:
            return 0.0
        return max(taken[0] + self._window_s - now_s, 0.0)

    def take(self, name: str) -> None:
        """Count one; the caller has asked `wait_s`."""
        now_s = self._clock()
        taken = self._taken.setdefault(name, deque(maxlen=self._limit))
        taken.append(now_s)
        while taken[0] <= now_s - self._window_s:  # one that never rests would keep as many as its limit
            taken.popleft()
        self._taken.move_to_end(name)
        while (oldest := next(iter(self._taken.values())))[-1] <= now_s - self._window_s:
            assert oldest is not taken
            self._taken.popitem(last=False)


class Rates:
    """The limits of one event loop, in requests a minute; `wrong_keys` is for each address, and when it is
    used up no key from there is looked up."""

    def __init__(self, per_key: int, per_address: int, everyone: int, wrong_keys: int) -> None:
        self._per_key = MovingWindow(per_key)
        self._per_address = MovingWindow(per_address)
        self._everyone = MovingWindow(everyone)
        self._wrong_keys = MovingWindow(wrong_keys)

    def take(self, visitor: Visitor) -> None:
        """Count one request, or raise TooManyRequests and count none."""
        own = self._per_address if visitor.caller.is_anonymous else self._per_key
        for window, name in ((own, visitor.name), (self._everyone, _EVERYONE)):
            wait_s = window.wait_s(name)
            if wait_s > 0:
                who = "this service has" if window is self._everyone else "you have"
                raise TooManyRequests(
                    f"{who} had as many requests as a minute may have; wait {math.ceil(wait_s)} s",
                    math.ceil(wait_s),
                )
        own.take(visitor.name)
        self._everyone.take(_EVERYONE)

    def check_wrong_keys(self, visitor: Visitor) -> None:
        """Raises TooManyRequests when too many wrong keys came from this address."""
        wait_s = self._wrong_keys.wait_s(visitor.network)
        if wait_s > 0:
            raise TooManyRequests("too many wrong API keys came from this address; wait", math.ceil(wait_s))

    def count_wrong_key(self, visitor: Visitor) -> None:
        """Note a wrong key from this address."""
        self._wrong_keys.take(visitor.network)


def network(address: str | None) -> str:
    """Who an address counts as: IPv4 itself, IPv6 its /64, and one name for whatever is no address."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
