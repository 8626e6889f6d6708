"""The embedder as a stream: any chunking is the offline run, streams do not leak, errors change nothing."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watermark import Embedder, Key, SignalError, StreamClosedError
from watermark import payload as payloads
from watermark.keyed import features
from watermark.keyed.embed import KeyedEmbedder
from watermark.keyed.geometry import PERIOD_FRAMES, Layout, first_row
from watermark.keyed.search import PilotSearch

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


def test_a_file_is_marked_in_pieces(embedder: Embedder, voices: dict[str, Floats]) -> None:
    """In one piece the spectra of half a minute are 60 MB beside its own 3, and of ten minutes 1.2 GB."""
    wav_T = np.resize(np.concatenate(list(voices.values())), 30 * 24_000)
    tracemalloc.start()
    marked_T = embedder.mark(wav_T, 24_000, payload=7)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45e6
    state = embedder.open(payload=7)
    whole_T = np.concatenate([embedder.push(state, wav_T), embedder.flush(state)])
    np.testing.assert_allclose(marked_T, whole_T, atol=1e-6)


def averaged(key: Key, hosts: list[Floats], rows: list[int]) -> float:
    """Who holds many marked files and their originals averages the differences of the tiles, from the first
    sample on. Return how well the average correlates with the pilot, wherever in its period it fits best."""
    layout = Layout.of(key)
    embedder, total = KeyedEmbedder(layout), np.zeros((PERIOD_FRAMES, 50), np.float32)
    for content_id, (host_T, row) in enumerate(zip(hosts, rows, strict=True)):
        state = embedder.open(payloads.encode(key, content_id), row)
        marked_T = np.concatenate([embedder.push(state, host_T), embedder.flush(state)])
        before, after = (
            features.tile_mean(features.log_power(features.band_power(wav_T))) for wav_T in (host_T, marked_T)
        )
        total += (after - before)[:PERIOD_FRAMES]
    return float(PilotSearch(layout).scores(total).max()) / np.sqrt(59 * 50)


def test_averaging_many_marked_files_reveals_no_carrier(key: Key, voices: dict[str, Floats]) -> None:
    """40 files. The attack works where all streams begin in the same row; where the row is drawn it learns
    less than from a single file, and less from more files."""
    starts = range(0, 65_000, 13_000)
    pieces = [wav_T[start : start + 66_000] for wav_T in voices.values() for start in starts]
    drawn = [first_row(key, content_id) for content_id in range(len(pieces))]
    assert len(pieces) == 40
    assert averaged(key, pieces, [0] * 40) > 0.75
    learned = averaged(key, pieces, drawn)
    assert learned < 0.4
    assert learned < 0.6 * averaged(key, pieces[:1], drawn[:1])


def test_two_streams_of_one_key_begin_in_rows_that_only_the_key_foretells(key: Key) -> None:
    """Pinned, since a mark made again must be the same mark; spread over the period; another key's differ."""
    rows = [first_row(key, content_id) for content_id in range(512)]
    assert rows[:4] == [11, 19, 2, 86]
    assert set(rows) <= set(range(128))
    assert len(set(rows)) > 118  # of 128; 126 are expected
    other = [first_row(Key(bytes(range(1, 17))), content_id) for content_id in range(512)]
    assert sum(a == b for a, b in zip(rows, other, strict=True)) <= 14  # 4 expected, P(more) < 1e-4
