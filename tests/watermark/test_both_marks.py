"""One embedder, two schemes: both marks on one stream, neither late, neither in the other's way."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.watermark.audioseal.conftest import TINY, made_weights
from watermark import Detector, Embedder, Key, Outcome, SignalError, StreamClosedError, WeightsError
from watermark.audioseal.embed import SealEmbedder
from watermark.audioseal.weights import PublicWeights

Floats = NDArray[np.float32]
CONTENT_ID = 0x1234_5678_9ABC


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> PublicWeights:
    return made_weights(tmp_path_factory.mktemp("public"), TINY)


@pytest.fixture(scope="module")
def both(key: Key, public: PublicWeights) -> Embedder:
    return Embedder(key, public)


def _streamed(embedder: Embedder, wav_T: Floats, size: int) -> Floats:
    state = embedder.open(payload=CONTENT_ID)
    parts = [embedder.push(state, wav_T[at : at + size]) for at in range(0, len(wav_T), size)]
    return np.concatenate([*parts, embedder.flush(state)])


def test_the_marks_are_added_and_each_is_what_it_is_alone(
    both: Embedder, embedder: Embedder, public: PublicWeights, key: Key, voices: dict[str, Floats]
) -> None:
    """A scheme that heard the other's mark would answer to it; one that lagged would miss its sample."""
    wav_T = voices["kathleen_1"][: 3 * 24_000 + 7]
    alone = SealEmbedder(public)
    state = alone.open(key.issuer)
    mark_T = np.concatenate([alone.push(state, wav_T), alone.flush(state)])
    expected_T = embedder.mark(wav_T, 24_000, payload=CONTENT_ID) + mark_T
    assert np.abs(mark_T).max() > 1e-3
    assert np.abs(both.mark(wav_T, 24_000, payload=CONTENT_ID) - expected_T).max() <= 1e-5


@pytest.mark.parametrize("size", [7_777, 1920, 479])
def test_any_chunking_gives_the_same_speech(both: Embedder, voices: dict[str, Floats], size: int) -> None:
    wav_T = voices["kerstin_1"][: 24_000 + 11]
    streamed_T = _streamed(both, wav_T, size)
    assert streamed_T.shape == wav_T.shape
    assert np.abs(streamed_T - both.mark(wav_T, 24_000, payload=CONTENT_ID)).max() <= 1e-5


def test_two_marks_wait_no_longer_than_one(
    both: Embedder, embedder: Embedder, voices: dict[str, Floats]
) -> None:
    wav_T, state, num_out = voices["amelia"], both.open(payload=1), 0
    assert both.latency_samples == embedder.latency_samples
    for num_in in range(1, 1000):
        num_out += len(both.push(state, wav_T[num_in - 1 : num_in]))
        assert num_in - num_out <= both.latency_samples


def test_a_refused_chunk_changes_neither_scheme(both: Embedder, voices: dict[str, Floats]) -> None:
    wav_T = voices["amelia"][:9600]
    state = both.open(payload=CONTENT_ID)
    parts = [both.push(state, wav_T[:4000])]
    with pytest.raises(SignalError):
        both.push(state, np.array([np.nan], np.float32))
    parts += [both.push(state, wav_T[4000:]), both.flush(state)]
    assert np.abs(np.concatenate(parts) - _streamed(both, wav_T, 4000)).max() <= 1e-5
    with pytest.raises(StreamClosedError):
        both.push(state, wav_T)


def test_the_keyed_mark_is_still_read_beside_the_public_one(
    both: Embedder, detector: Detector, voices: dict[str, Floats]
) -> None:
    marked_T = both.mark(voices["kathleen_1"], 24_000, payload=CONTENT_ID)
    found = detector.detect(marked_T, 24_000)
    assert found.outcome is Outcome.FOUND
    assert found.payload == CONTENT_ID


def test_without_weights_there_is_no_public_detector(detector: Detector, key: Key, tmp_path: Path) -> None:
    assert detector.public is None
    with pytest.raises(WeightsError, match="cannot be read"):
        Detector.load(key=key, public_weights=tmp_path / "absent")


def test_the_name_a_public_mark_shows_is_the_keys_public_name(key: Key, detector: Detector) -> None:
    """Sixteen bits of what anyone may know of the key, so that whoever reads them finds the issuer."""
    assert detector.issuer == key.issuer == int(key.key_id[:4], 16)
