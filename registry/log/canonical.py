"""One JSON value, one sequence of bytes: what is hashed and signed must not depend on who wrote it.

    canonical({"b": 1.0, "a": "é"}) == b'{"a":"\xc3\xa9","b":1}'

Source: RFC 8785 (JSON Canonicalization Scheme): no blanks, members sorted by UTF-16 code units, numbers as
ECMAScript prints them. Not covered: integers that are no double, which JSON readers round; they are refused.
"""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from registry.errors import RegistryInputError

SAFE_INTEGER = 2**53 - 1  # RFC 7493, section 2.2: beyond it a double no longer tells neighbours apart


def canonical(value: Any) -> bytes:
    """The bytes of a JSON value. Raises `RegistryInputError` for what JSON cannot say the same everywhere."""
    try:
        return _text(value).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise RegistryInputError(f"this cannot be written as canonical JSON: {error}") from error


def parse_canonical(data: bytes) -> Any:
    """The value of canonical bytes. Raises `RegistryInputError` when they are not canonical JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RegistryInputError(f"this is not JSON: {error}") from error
    if canonical(value) != data:
        raise RegistryInputError("this JSON is not in canonical form (RFC 8785)")
    return value


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return _integer(value)
        case float():
            return _float(value)
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
        case Mapping():
            return "{" + ",".join(_member(name, value[name]) for name in sorted(value, key=_utf16)) + "}"
        case _:
            raise RegistryInputError(f"{type(value).__name__} is no JSON value")


def _member(name: str, value: Any) -> str:
    return f"{_text(name)}:{_text(value)}"


def _utf16(name: Any) -> bytes:
    if not isinstance(name, str):
        raise RegistryInputError(f"a member of a JSON object is named by text, not by {name!r}")
    return name.encode("utf-16-be")


def _integer(value: int) -> str:
    if abs(value) <= SAFE_INTEGER:
        return str(value)
    # What _float has written for a large number is read as an integer again.
    if abs(value) < 10**21 and _float(float(value)) == str(value):
        return str(value)
    raise RegistryInputError(
        "a number of more than 15 digits would be rounded by JSON readers: write it as text"
    )


def _float(value: float) -> str:
    """ECMAScript's Number::toString: Python finds the same shortest digits but writes exponents elsewhere."""
    if not math.isfinite(value):
        raise RegistryInputError(f"{value} is no JSON number")
    if value == 0:
        return "0"  # also -0
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    all_digits = "".join(map(str, digit_tuple))
    digits = all_digits.rstrip("0")
    point = len(all_digits) + exponent  # the value is 0.digits * 10**point
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{point - 1:+d}"
    return "-" * sign + text
