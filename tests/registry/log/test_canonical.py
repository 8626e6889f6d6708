"""Canonical JSON against the literals of RFC 8785, so that no second writer ever disagrees about a hash."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import RegistryInputError
from registry.log.canonical import canonical, parse_canonical

# RFC 8785, appendix B: IEEE 754 bits and what ECMAScript prints.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_in_appendix_b(bits: str, text: str) -> None:
    [value] = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == text.encode()


def test_the_example_of_section_3_2_2_is_written_as_there() -> None:
    given_text = r"""{
       "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
       "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
       "literals": [null, true, false]
     }"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + r"'" + r'B\"\\\\\"/"}'
    )
    assert canonical(json.loads(given_text)).decode() == expected


def test_members_are_sorted_by_utf16_and_not_by_code_point() -> None:
    """Section 3.2.3: an emoji (two surrogates, D83D) stands before U+FB33."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = json.loads(canonical(dict.fromkeys(names)).decode(), object_pairs_hook=lambda pairs: pairs)
    assert [name for name, _ in written] == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53 + 1, 10**400, {"a": b""}, {1: 2}, "\ud800", object()]
)
def test_what_json_cannot_say_the_same_everywhere_is_refused(value: object) -> None:
    with pytest.raises(RegistryInputError):
        canonical(value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"b":1,"a":2}', b'{"a": 1}', b"1.0", b'"\\u0041"', b'{"a":1}\n']
)
def test_json_in_another_form_is_refused(data: bytes) -> None:
    """Two forms of one value would be two leaves that say the same."""
    with pytest.raises(RegistryInputError):
        parse_canonical(data)


@settings(deadline=None)  # the time limit is for an idle machine
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=10,
    )
)
def test_writing_what_was_read_gives_the_same_bytes(value: object) -> None:
    try:
        data = canonical(value)
    except RegistryInputError:
        return  # a lone surrogate
    assert canonical(json.loads(data)) == data
