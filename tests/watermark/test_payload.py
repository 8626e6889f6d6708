"""The 64 bits: encoded as pinned, decoded under noise, refused without the key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watermark import Key, payload

KEY = Key(bytes(range(16)))
OTHER = Key(bytes(range(1, 17)))
content_ids = st.integers(0, (1 << 48) - 1)


def test_the_code_is_pinned_to_its_generators() -> None:
    """A single one in the newest place reads out the generators: 463, 535, 733, 745 octal."""
    bits = np.zeros(payload.PAYLOAD_BITS, np.uint8)
    bits[0] = 1
    coded = payload._convolve(bits).reshape(-1, 4)
    columns = ["".join(str(b) for b in coded[:9, g]) for g in range(4)]
    assert [int(c, 2) for c in columns] == [0o463, 0o535, 0o733, 0o745]
    assert not coded[9:].any()


@given(content_ids)
def test_every_id_survives_the_round_trip(content_id: int) -> None:
    assert payload.decode(KEY, payload.encode(KEY, content_id)) == content_id


@pytest.mark.parametrize("content_id", [-1, 1 << 48])
def test_an_id_that_does_not_fit_is_refused(content_id: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        payload.encode(KEY, content_id)


def test_another_key_verifies_nothing() -> None:
    """400 words; a random tag passes with 2**-16, so a failure here by chance happens once in 160 runs
    of other seeds, and never with this one."""
    rng = np.random.default_rng(0)
    ids = [int(rng.integers(1 << 48)) for _ in range(400)]
    assert not any(payload.decode(OTHER, payload.encode(KEY, n)) == n for n in ids)


def test_noise_does_not_verify() -> None:
    """1000 words of noise pass 2**-14 each, four tries of 2**-16: expected 0.06 in all."""
    rng = np.random.default_rng(1)
    words = rng.standard_normal((1000, payload.CODED_BITS)).astype(np.float32)
    assert sum(payload.decode(KEY, word) is not None for word in words) == 0


def heard_in_noise(sigma: float, seed: int) -> tuple[int, float]:
    """How many of 100 words come back whole, and the share of coded bits that are wrong by their sign."""
    rng = np.random.default_rng(seed)
    whole = wrong_bits = 0
    for _ in range(100):
        content_id = int(rng.integers(1 << 48))
        sent = payload.encode(KEY, content_id)
        heard = (sent + sigma * rng.standard_normal(len(sent))).astype(np.float32)
        wrong_bits += int((np.sign(heard) != sent).sum())
        whole += payload.decode(KEY, heard) == content_id
    return whole, wrong_bits / (100 * payload.CODED_BITS)


def test_soft_decisions_correct_one_bit_in_six() -> None:
    """Eb/N0 of 3 dB: one coded bit in six is wrong by its sign, and 95 % of the words come back whole.

    100 words, at least 85 asked for: P(fewer | p = 0.95) < 1e-4.
    """
    whole, wrong = heard_in_noise(np.sqrt(1 / (2 * 10**0.3 / 4)), seed=2)
    assert 0.14 < wrong < 0.18
    assert whole >= 85


def test_with_one_bit_in_four_wrong_most_words_are_read() -> None:
    """Eb/N0 of -0.5 dB, 100 words: 65 asked for, where the likeliest path round the trellis, which need not
    close, reads about 37, and the likeliest one that closes about 55 (docs/LOG.md)."""
    whole, wrong = heard_in_noise(10 ** (3.5 / 20), seed=3)
    assert 0.23 < wrong < 0.27
    assert whole >= 65
