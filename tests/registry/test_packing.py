"""The stored bytes of windows: pinned by hand, in this format and in the one before."""

import numpy as np
import pytest

from registry.index.quantizer import unit
from registry.packing import pack_codes, pack_informative, quantised, unpack_codes, unpack_informative


def test_the_packed_form_is_pinned() -> None:
    """Hand-written bytes: what is in the database today must be readable forever."""
    codes = np.full((2, 128), -15, np.int8)
    codes[0, :4], codes[0, 127], codes[1, 0] = (15, -13, 1, -1), 15, -1
    stored = b"\xf1\x87" + bytes(61) + b"\x0f" + b"\x70" + bytes(63)
    assert pack_codes(codes) == stored
    assert np.array_equal(unpack_codes(stored, 2), codes)
    flags = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], dtype=np.bool_)
    assert pack_informative(flags) == b"\x81\x80"
    assert np.array_equal(unpack_informative(b"\x81\x80", 9), flags)


def test_the_form_of_earlier_releases_is_read_as_it_was_written() -> None:
    """128 bytes a window, int8: rows are never written again, so they stay like this."""
    stored = b"\x01" + bytes(126) + b"\xff" + b"\x81" + bytes(127)
    codes = np.zeros((2, 128), np.int8)
    codes[0, 0], codes[0, 127], codes[1, 0] = 1, -1, -127
    assert np.array_equal(unpack_codes(stored, 2), codes)


@pytest.mark.parametrize("length", [0, 63, 65, 127, 129, 192])
def test_bytes_of_another_length_are_refused(length: int) -> None:
    """Reading on would give some window the codes of the next."""
    with pytest.raises(ValueError, match="reshape"):
        unpack_codes(bytes(length), 1)


def test_codes_of_another_width_type_or_value_are_refused() -> None:
    """Else something other than what was searched for would be stored."""
    for wrong in (np.ones((2, 64), dtype=np.int8), np.ones((2, 128), dtype=np.float32)):
        with pytest.raises(ValueError, match="int8"):
            pack_codes(wrong)  # type: ignore[arg-type]
    for value in (0, 2, -14, 17, -17, 127, -128):
        codes = np.ones((1, 128), np.int8)
        codes[0, 5] = value
        with pytest.raises(ValueError, match="odd"):
            pack_codes(codes)


def test_quantised_is_the_formula_by_hand() -> None:
    """Steps of 0.95 / 8 of the largest component; what lies beyond the last one is cut off."""
    emb = np.zeros((1, 128))
    emb[0, :7] = (8.0, -8.0, 0.96, 0.94, -0.94, -0.96, 7.0)
    assert quantised(emb)[0, :8].tolist() == [15, -15, 3, 1, -1, -3, 15, 1]


def test_only_the_direction_counts() -> None:
    """Networks that compute in bfloat16 give unit vectors to a few thousandths."""
    emb = np.random.default_rng(0).standard_normal((50, 128))
    assert np.array_equal(quantised(emb), quantised(0.125 * emb))
    assert np.array_equal(quantised(emb.astype(np.float32)), quantised(emb.astype(np.float32) * 4))


def test_a_code_keeps_its_direction() -> None:
    """Seeded Gaussian directions, which are harder than speech is: their largest components are larger."""
    emb = np.random.default_rng(1).standard_normal((2_000, 128))
    emb /= np.linalg.norm(emb, axis=1, keepdims=True)
    cosines = (unit(quantised(emb)) * emb).sum(axis=1)
    assert cosines.mean() > 0.993
    assert cosines.min() > 0.98


def test_packing_gives_back_every_code_and_nothing_for_nothing() -> None:
    """Including no window at all, and a window of nothing: a network cannot give one, and no NaN may come."""
    codes = quantised(np.random.default_rng(2).standard_normal((37, 128)))
    assert np.array_equal(unpack_codes(pack_codes(codes), 37), codes)
    assert pack_codes(quantised(np.zeros((0, 128)))) == b""
    assert unpack_codes(b"", 0).shape == (0, 128)
    assert set(quantised(np.zeros((1, 128)))[0].tolist()) == {1}
