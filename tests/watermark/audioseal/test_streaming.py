"""A stream of the public mark against the package's own offline run, and the fault that is repaired."""

import numpy as np
import pytest
import torch
from audioseal import AudioSealWM
from audioseal.libs.moshi.utils.compile import no_compile
from numpy.typing import NDArray

from tests.watermark.audioseal.conftest import TINY_PUBLISHED
from watermark import SignalError, StreamClosedError
from watermark.audioseal.config import HOP_SAMPLES, PUBLISHED
from watermark.audioseal.embed import SealEmbedder
from watermark.audioseal.network import build_generator, frame_logits, raw_mark
from watermark.audioseal.streaming import StreamedNetwork
from watermark.audioseal.weights import PublicWeights

Floats = NDArray[np.float32]
MESSAGE = 0xA5C3


@pytest.fixture
def speech(voices: dict[str, Floats]) -> Floats:
    return voices["kathleen_1"][: 2 * 24_000 + 77]


def _streamed(embedder: SealEmbedder, wav_T: Floats, sizes: list[int]) -> Floats:
    """The mark by chunks of these sizes, over and over."""
    state, parts, at, turn = embedder.open(MESSAGE), [], 0, 0
    while at < len(wav_T):
        size = sizes[turn % len(sizes)]
        parts.append(embedder.push(state, wav_T[at : at + size]))
        at, turn = at + size, turn + 1
    return np.concatenate([*parts, embedder.flush(state)])


def _offline(generator: AudioSealWM, wav_T: Floats) -> Floats:
    bits = torch.tensor([[MESSAGE >> (15 - i) & 1 for i in range(16)]])
    with torch.inference_mode(), no_compile():
        return generator.get_watermark(torch.from_numpy(wav_T)[None, None], message=bits)[0, 0].numpy()


@pytest.mark.parametrize(
    "sizes",
    [[320], [1920], [1], [0, 1, 319, 320, 321, 7], [48_000]],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_any_chunking_gives_what_one_push_gives(
    weights: PublicWeights, speech: Floats, sizes: list[int]
) -> None:
    if sizes == [1]:
        speech = speech[:2000]
    embedder = SealEmbedder(weights)
    whole = _streamed(embedder, speech, [len(speech)])
    assert np.abs(_streamed(embedder, speech, sizes) - whole).max() <= 1e-5 * np.abs(whole).max()
    assert len(whole) == len(speech)


@pytest.mark.parametrize("chunk", [320, 1920, 24_000])
def test_a_stream_is_the_offline_run_of_the_package(speech: Floats, chunk: int) -> None:
    """Networks as the package runs them whole, against frames of ours: the published layout, with LSTM."""
    torch.manual_seed(1)
    generator = build_generator(TINY_PUBLISHED).eval().requires_grad_(False)
    speech = speech[: len(speech) // HOP_SAMPLES * HOP_SAMPLES]
    expected = _offline(generator, speech)
    bits = torch.tensor([[MESSAGE >> (15 - i) & 1 for i in range(16)]])
    network = StreamedNetwork(
        [generator.encoder, generator.decoder], lambda wav: raw_mark(generator, wav, bits)
    )
    states = network.open()
    parts = [
        network.push(states, torch.from_numpy(speech[at : at + chunk])[None])[0].numpy()
        for at in range(0, len(speech), chunk)
    ]
    assert np.abs(np.concatenate(parts) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_package_still_forgets_its_state_between_chunks(speech: Floats) -> None:
    """The fault of audioseal 0.2.0 that `streaming.py` repairs: a stream is all beginnings, 10 % off or more.

    When this fails, the package has changed: see whether `StreamedNetwork` is still needed, and still right.
    """
    torch.manual_seed(1)
    generator = build_generator(PUBLISHED).eval().requires_grad_(False)
    speech = speech[:19_200]
    bits = torch.tensor([[MESSAGE >> (15 - i) & 1 for i in range(16)]])
    chunks = [torch.from_numpy(speech[at : at + 1920])[None, None] for at in range(0, len(speech), 1920)]
    with torch.inference_mode(), no_compile():
        with generator.streaming(batch_size=1):
            streamed = torch.cat([generator.get_watermark(chunk, message=bits) for chunk in chunks], dim=2)
        alone = torch.cat([generator.get_watermark(chunk, message=bits) for chunk in chunks], dim=2)
    whole = _offline(generator, speech)
    assert np.linalg.norm(streamed[0, 0].numpy() - whole) > 0.1 * np.linalg.norm(whole)
    assert torch.equal(streamed, alone)


def test_streams_that_take_turns_do_not_leak(weights: PublicWeights, speech: Floats) -> None:
    embedder = SealEmbedder(weights)
    alone = _streamed(embedder, speech, [1920])
    mine, other = embedder.open(MESSAGE), embedder.open(0)
    parts = []
    for at in range(0, len(speech), 1920):
        parts.append(embedder.push(mine, speech[at : at + 1920]))
        embedder.push(other, -speech[at : at + 1920])
    assert np.array_equal(np.concatenate([*parts, embedder.flush(mine)]), alone)


@pytest.mark.parametrize("chunk", [np.array([0.0, np.nan], np.float32), np.zeros((2, 320), np.float32)])
def test_a_refused_chunk_changes_nothing(weights: PublicWeights, speech: Floats, chunk: Floats) -> None:
    embedder = SealEmbedder(weights)
    state = embedder.open(MESSAGE)
    first = embedder.push(state, speech[:1000])
    with pytest.raises(SignalError):
        embedder.push(state, chunk)
    rest = [embedder.push(state, speech[1000:]), embedder.flush(state)]
    assert np.array_equal(np.concatenate([first, *rest]), _streamed(embedder, speech, [1000, len(speech)]))
    with pytest.raises(StreamClosedError):
        embedder.push(state, speech)


def test_a_sample_waits_no_longer_than_stated(weights: PublicWeights, speech: Floats) -> None:
    """The stated latency is kept at every sample, and is needed at some."""
    embedder = SealEmbedder(weights)
    state, came, left, longest = embedder.open(MESSAGE), 0, 0, 0
    for at in range(1000):
        came, left = came + 1, left + len(embedder.push(state, speech[at : at + 1]))
        longest = max(longest, came - left)
    assert longest == embedder.latency_samples == HOP_SAMPLES - 1


def test_the_networks_do_not_look_ahead(weights: PublicWeights, speech: Floats) -> None:
    """A mark of what has been said must not change with what is said next."""
    embedder = SealEmbedder(weights)
    changed = speech.copy()
    changed[24_000:] = 0.0
    same = 24_000 // HOP_SAMPLES * HOP_SAMPLES
    marks = [_streamed(embedder, wav_T, [len(speech)])[:same] for wav_T in (speech, changed)]
    assert np.array_equal(*marks)


def test_a_message_that_does_not_fit_is_refused(weights: PublicWeights) -> None:
    for message in (-1, 1 << 16):
        with pytest.raises(ValueError, match="16 bits"):
            SealEmbedder(weights).open(message)


def test_frames_of_the_detector_are_means_of_the_packages_samples(
    weights: PublicWeights, speech: Floats
) -> None:
    """The short way through the two linear layers against the package's own `forward`, before its softmax."""
    wav = torch.from_numpy(speech[: 30 * HOP_SAMPLES])[None]
    with torch.inference_mode(), no_compile():
        samples = weights.detector.detector(wav[:, None])
        frames = frame_logits(weights.detector, wav)
    assert torch.allclose(frames, samples.unflatten(2, (30, HOP_SAMPLES)).mean(dim=3), atol=1e-5)
