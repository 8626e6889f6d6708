"""The embedder as a stream: any chunking is the offline run, streams do not leak, errors change nothing."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watermark import Embedder, SignalError, StreamClosedError

Floats = npt.NDArray[np.float32]


def stream(embedder: Embedder, wav_T: Floats, sizes: list[int], payload: int = 7) -> Floats:
    state, out, start = embedder.open(payload=payload), [], 0
    for size in sizes:
        out.append(embedder.push(state, wav_T[start : start + size]))
        start += size
    out += [embedder.push(state, wav_T[start:]), embedder.flush(state)]
    return np.concatenate(out)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.sampled_from([0, 1, 7, 119, 120, 121, 480, 1919, 1920, 5001]), max_size=12))
def test_any_chunking_equals_the_offline_run(
    embedder: Embedder, voices: dict[str, Floats], sizes: list[int]
) -> None:
    wav_T = voices["amelia"][: 24_000 + 77]
    offline = embedder.mark(wav_T, 24_000, payload=7)
    streamed = stream(embedder, wav_T, sizes)
    assert streamed.shape == wav_T.shape
    assert np.abs(streamed - offline).max() <= 1e-5


def test_interleaved_streams_do_not_leak(embedder: Embedder, voices: dict[str, Floats]) -> None:
    first, second = voices["amelia"][:24_000], voices["eltocino"][:24_000]
    states = embedder.open(payload=1), embedder.open(payload=2)
    outs: tuple[list[Floats], list[Floats]] = ([], [])
    for start in range(0, 24_000, 960):
        for state, out, wav_T in zip(states, outs, (first, second), strict=True):
            out.append(embedder.push(state, wav_T[start : start + 960]))
    for state, out, wav_T, payload in zip(states, outs, (first, second), (1, 2), strict=True):
        joined = np.concatenate([*out, embedder.flush(state)])
        assert (joined == stream(embedder, wav_T, [960] * 25, payload)).all()


@pytest.mark.parametrize("bad", [np.array([np.nan]), np.array([np.inf, 0]), np.zeros((2, 5))])
def test_a_refused_chunk_changes_nothing(embedder: Embedder, voices: dict[str, Floats], bad: Floats) -> None:
    wav_T = voices["amelia"][:9600]
    state = embedder.open(payload=7)
    out = [embedder.push(state, wav_T[:4000])]
    with pytest.raises(SignalError):
        embedder.push(state, bad)
    out += [embedder.push(state, wav_T[4000:]), embedder.flush(state)]
    assert (np.concatenate(out) == stream(embedder, wav_T, [4000])).all()


def test_no_sample_waits_longer_than_the_stated_latency(
    embedder: Embedder, voices: dict[str, Floats]
) -> None:
    wav_T, state, num_out = voices["amelia"], embedder.open(payload=7), 0
    assert embedder.latency_samples <= 480  # 20 ms
    for num_in in range(1, 2000):
        num_out += len(embedder.push(state, wav_T[num_in - 1 : num_in]))
        assert num_in - num_out <= embedder.latency_samples


def test_a_flushed_stream_is_closed(embedder: Embedder) -> None:
    state = embedder.open(payload=7)
    assert len(embedder.flush(state)) == 0
    with pytest.raises(StreamClosedError):
        embedder.push(state, np.zeros(1, np.float32))
    with pytest.raises(StreamClosedError):
        embedder.flush(state)


def test_silence_stays_silent(embedder: Embedder) -> None:
    assert not embedder.mark(np.zeros(24_000, np.float32), 24_000, payload=7).any()


def test_the_mark_stays_well_below_the_speech(embedder: Embedder, voices: dict[str, Floats]) -> None:
    """The floor for any one clip; the means and PESQ, STOI are in docs/benchmarks.md."""
    for wav_T in voices.values():
        mark_T = embedder.mark(wav_T, 24_000, payload=7) - wav_T
        snr_db = 10 * np.log10((wav_T**2).sum() / (mark_T**2).sum())
        assert snr_db > 24


def test_other_rates_and_channels_keep_their_shape(embedder: Embedder, voices: dict[str, Floats]) -> None:
    wav_T = voices["amelia"][:44_101]
    stereo = np.stack([wav_T, 0.5 * wav_T])
    marked = embedder.mark(stereo, 44_100, payload=7)
    assert marked.shape == stereo.shape
    assert marked.dtype == np.float32
    left, right = marked - stereo
    assert np.abs(left - right).max() < 1e-6  # one mark, added to every channel
    assert np.abs(left).max() > 0
