"""The tables of a key: pinned, balanced, unlike another key's."""

import hashlib

import numpy as np

from watermark import Key, payload
from watermark.keyed import geometry
from watermark.keyed.geometry import Layout

LAYOUT = Layout.of(Key(bytes(range(16))))


def test_the_tables_are_pinned() -> None:
    """Guards every mark ever made with a key."""
    body = LAYOUT.role.astype("<i2").tobytes() + LAYOUT.sign.astype("i1").tobytes()
    assert hashlib.sha256(body).hexdigest()[:16] == "e93fdddd2e5527cb"


def test_each_band_has_its_share_of_pilots() -> None:
    assert ((LAYOUT.role == geometry.PILOT).sum(axis=0) == 59).all()


def test_every_coded_bit_has_tiles_all_over_the_spectrum() -> None:
    bands, bits = (
        np.nonzero(LAYOUT.role.T != geometry.PILOT)[0],
        LAYOUT.role.T[LAYOUT.role.T != geometry.PILOT],
    )
    counts = np.bincount(bits, minlength=payload.CODED_BITS)
    assert counts.min() >= 13
    for bit in range(payload.CODED_BITS):
        assert bands[bits == bit].min() < 10
        assert bands[bits == bit].max() >= 40


def test_signs_are_balanced() -> None:
    """6400 fair signs: the mean is within 5 standard deviations of 0."""
    assert set(np.unique(LAYOUT.sign)) == {-1.0, 1.0}
    assert abs(LAYOUT.sign.mean()) < 5 / np.sqrt(LAYOUT.sign.size)


def test_another_key_has_unrelated_tables() -> None:
    other = Layout.of(Key(bytes(range(1, 17))))
    assert abs((LAYOUT.sign * other.sign).mean()) < 5 / np.sqrt(LAYOUT.sign.size)
    assert 0.15 < ((LAYOUT.role == -1) & (other.role == -1)).mean() < 0.28


def test_the_payload_turns_its_tiles_and_no_others() -> None:
    codeword = np.ones(payload.CODED_BITS, np.float32)
    codeword[17] = -1
    turned = LAYOUT.with_payload(codeword) != LAYOUT.sign
    assert (turned == (LAYOUT.role == 17)).all()
