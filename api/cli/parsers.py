"""What the parsers of all commands share: a type that can be written down, and the kinds of number."""

import argparse
from datetime import UTC, datetime
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def positive_int(text: str) -> int:
    """A count of at least 1, for `type=`. Raises what argparse shows as one sentence."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, not {number}")
    return number


def whole_number(text: str) -> int:
    """At least 0, for `type=`. Raises what argparse shows as one sentence."""
    return 0 if text == "0" else positive_int(text)


def hours(text: str) -> float:
    """A length of time from 0 to 10,000 hours, for `type=`. Raises what argparse shows as one sentence."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number of hours, not {text!r}") from None
    if not 0 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"expected 0 to 10000 hours, not {text}")
    return number


def port(text: str) -> int:
    """A TCP port, for `type=`. Raises what argparse shows as one sentence."""
    number = positive_int(text)
    if number > 65_535:
        raise argparse.ArgumentTypeError(f"a port is at most 65535, not {number}")
    return number


def moment(text: str) -> datetime:
    """A time such as 2026-11-25 or 2026-11-25T10:00Z, for `type=`; without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-25T10:00Z, not {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
