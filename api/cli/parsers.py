"""What the parsers of all commands share: a type that can be written down, and the kinds of number."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


MAX_DAYS = 36_500
MAX_SEED = 2**53 - 1  # whole in JSON, too (api/schemas.py)


def add_public_weights(parser: argparse.ArgumentParser) -> None:
    """The option of every command that opens the service; a setting, so that the environment can name it."""
    parser.add_argument(
        "--public-weights",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="a public mark beside the keyed one (default: EARMARK_PUBLIC_WEIGHTS, or none)",
    )


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


def seed(text: str) -> int:
    """What chance begins with, as REST takes it, for `type=`. Raises what argparse shows as one sentence."""
    return _at_most(text, MAX_SEED, "a seed")


def hours(text: str) -> float:
    """A length of time from 0 to 10,000 hours, for `type=`. Raises what argparse shows as one sentence."""
    return _between(text, 10_000, "hours")


def days(text: str) -> int:
    """Whole days, a hundred years at most, for `type=`. Raises what argparse shows as one sentence."""
    return _at_most(text, MAX_DAYS, "a number of days")


def days_from_one(text: str) -> int:
    """As `days`, one at least."""
    return days(str(positive_int(text)))


def _at_most(text: str, most: int, what: str) -> int:
    number = whole_number(text)
    if number > most:
        raise argparse.ArgumentTypeError(f"{what} is at most {most}, not {number}")
    return number


def _between(text: str, most: int, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number of {unit}, not {text!r}") from None
    if not 0 <= number <= most:
        raise argparse.ArgumentTypeError(f"expected 0 to {most} {unit}, not {text}")
    return number


def seconds(text: str) -> float:
    """A length of time from 0 to 3,600 seconds, for `type=`. Raises what argparse shows as one sentence."""
    return _between(text, 3_600, "seconds")


def period(text: str) -> float:
    """How often something is done, above 0 and up to 1,000,000 seconds, for `type=`. Raises as `seconds`."""
    number = _between(text, 1_000_000, "seconds")
    if number == 0:
        raise argparse.ArgumentTypeError("expected more than 0 seconds")
    return number


def port(text: str) -> int:
    """A TCP port, for `type=`. Raises what argparse shows as one sentence."""
    return _at_most(str(positive_int(text)), 65_535, "a port")


def moment(text: str) -> datetime:
    """A time such as 2026-11-25 or 2026-11-25T10:00Z, for `type=`; without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-25T10:00Z, not {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
