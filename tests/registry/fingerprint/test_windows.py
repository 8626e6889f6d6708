"""Cutting into windows: streaming equals offline, gates, weights that are checked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import trusted
from registry.errors import WeightsUnavailable
from registry.fingerprint import windows
from registry.fingerprint.windows import HOP_SAMPLES, WINDOW_SAMPLES, Fingerprinter, Windows, informative
from registry.index.quantizer import unit
from registry.packing import quantised

ASSETS = Path(__file__).parents[2] / "assets"
Wav = NDArray[np.float32]
STEP = 2  # codes are odd numbers


@pytest.fixture(scope="module")
def fingerprinter() -> Fingerprinter:
    return Fingerprinter.load()


@pytest.fixture(scope="module")
def speech() -> Wav:
    return trusted.read(ASSETS / "amelia.flac", "flac")


def streamed(fingerprinter: Fingerprinter, chunks: list[Wav]) -> list[Windows]:
    stream = fingerprinter.open()
    return [*(fingerprinter.push(stream, chunk) for chunk in chunks), fingerprinter.flush(stream)]


def codes(parts: list[Windows]) -> NDArray[np.int8]:
    return np.concatenate([part.codes_ND for part in parts])


def test_window_starts_are_whole_mimi_frames() -> None:
    """Offsets in windows must be offsets in tokens: 6 frames of 1920 samples, 1 s of 24 kHz."""
    assert (HOP_SAMPLES, WINDOW_SAMPLES) == (6 * 1920, 24_000)


@pytest.mark.parametrize(
    "length, expected", [(0, 0), (1, 1), (23_999, 1), (24_000, 1), (35_519, 1), (35_520, 2)]
)
def test_the_number_of_windows_is_as_stated(fingerprinter: Fingerprinter, length: int, expected: int) -> None:
    """The edges of the cut: nothing, one padded window, exactly one, just under two, two."""
    assert len(fingerprinter.run(np.full(length, 0.1, np.float32)).codes_ND) == expected


@pytest.mark.parametrize("chunk", [1_920, 7_777, 50_001])
def test_any_chunking_gives_the_windows_of_the_whole(
    fingerprinter: Fingerprinter, speech: Wav, chunk: int
) -> None:
    """Streaming equals offline, to one step of a code where the batch size moves the last bit of a sum."""
    whole = fingerprinter.run(speech)
    parts = streamed(fingerprinter, [speech[i : i + chunk] for i in range(0, len(speech), chunk)])
    assert [p.first_window for p in parts] == list(np.cumsum([0, *(len(p.codes_ND) for p in parts[:-1])]))
    assert np.abs(codes(parts).astype(int) - whole.codes_ND.astype(int)).max() <= STEP
    assert np.array_equal(np.concatenate([p.informative_N for p in parts]), whole.informative_N)


def test_empty_and_single_sample_pushes_change_nothing(fingerprinter: Fingerprinter, speech: Wav) -> None:
    """Sizes 0 and 1 are where buffers go wrong."""
    start = 23_998
    pieces = [
        speech[:0],
        speech[:start],
        *(speech[i : i + 1] for i in range(start, start + 4)),
        speech[:0],
    ]
    assert (
        np.abs(codes(streamed(fingerprinter, pieces)) - fingerprinter.run(speech[:24_002]).codes_ND).max()
        <= STEP
    )


def test_interleaved_streams_do_not_leak(fingerprinter: Fingerprinter, speech: Wav) -> None:
    """Two generations recorded at once by one Fingerprinter."""
    first, second = fingerprinter.open(), fingerprinter.open()
    other_T = np.ascontiguousarray(speech[::-1])
    got: list[Windows] = []
    for i in range(0, 72_000, 9_000):
        got.append(fingerprinter.push(first, speech[i : i + 9_000]))
        fingerprinter.push(second, other_T[i : i + 9_000])
    alone = fingerprinter.run(speech[:72_000])
    assert np.abs(codes(got).astype(int) - alone.codes_ND.astype(int)).max() <= STEP


def test_a_flushed_stream_refuses_more(fingerprinter: Fingerprinter) -> None:
    """A late push would otherwise restart the numbering."""
    stream = fingerprinter.open()
    fingerprinter.flush(stream)
    with pytest.raises(ValueError, match="flushed"):
        fingerprinter.push(stream, np.zeros(10, np.float32))


def test_codes_of_the_query_path_are_those_of_the_registry_path(
    fingerprinter: Fingerprinter, speech: Wav
) -> None:
    """`embed` shares frames between windows; every fourth row at 0.12 s must be a registered window."""
    rows = fingerprinter.embed(speech, HOP_SAMPLES // 4)[::4]
    stored = fingerprinter.run(speech).codes_ND
    assert np.abs(quantised(rows[: len(stored)]).astype(int) - stored).max() <= STEP
    assert (rows[: len(stored)] * unit(stored)).sum(axis=1).min() > 0.985


def test_a_window_heard_by_three_quarters_is_near_the_whole_one(
    fingerprinter: Fingerprinter, speech: Wav
) -> None:
    """A query begins and ends somewhere; by its ends a second meets two windows and not one."""
    starts = range(24_000, 84_000, 6_000)
    whole = np.concatenate([fingerprinter.embed(speech[s:], HOP_SAMPLES, 0, 1) for s in starts])
    late = [fingerprinter.embed(speech[s + 6_000 : s + 24_000], HOP_SAMPLES, -6_000, 1) for s in starts]
    early = [fingerprinter.embed(speech[s : s + 18_000], HOP_SAMPLES, 0, 1) for s in starts]
    for part in (late, early):
        near = (np.concatenate(part) * whole).sum(axis=1)
        assert near.mean() >= 0.75
        assert near.min() >= 0.5


def test_a_hop_off_the_frame_grid_is_refused(fingerprinter: Fingerprinter) -> None:
    """Windows would not share their frames."""
    with pytest.raises(ValueError, match="multiple of 360"):
        fingerprinter.embed(np.zeros(48_000, np.float32), 1_000)


def test_silence_and_hiss_below_the_gate_are_not_informative() -> None:
    """Silent windows look alike, so each indexed one would match every pause."""
    hiss_T = np.random.default_rng(0).normal(0.0, 5e-4, 48_000).astype(np.float32)  # -66 dBFS
    assert not informative(np.zeros(48_000, np.float32), HOP_SAMPLES).any()
    assert not informative(hiss_T, HOP_SAMPLES).any()


def test_a_syllable_makes_its_windows_informative_and_no_others() -> None:
    """0.3 s of sound at 2.0 s lies in the windows that start at 1.44 and 1.92 s, wholly or for 0.2 s and
    more."""
    wav_T = np.zeros(96_000, np.float32)
    wav_T[48_000:55_200] = 0.1
    starts_s = np.flatnonzero(informative(wav_T, HOP_SAMPLES)) * 0.48
    assert starts_s.tolist() == pytest.approx([1.44, 1.92])


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    """A damaged or replaced file must not be run."""
    for name in ("fingerprint.safetensors", "fingerprint.json"):
        shutil.copy(windows.WEIGHTS / name, tmp_path / name)
    damaged = bytearray((tmp_path / "fingerprint.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "fingerprint.safetensors").write_bytes(damaged)
    with pytest.raises(WeightsUnavailable, match="damaged or was replaced"):
        Fingerprinter.load(tmp_path)


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"version": "1"}'])
def test_a_malformed_card_is_one_error(tmp_path: Path, card: str) -> None:
    """Whatever is wrong with the folder, the caller sees WeightsUnavailable."""
    shutil.copy(windows.WEIGHTS / "fingerprint.safetensors", tmp_path)
    (tmp_path / "fingerprint.json").write_text(card)
    with pytest.raises(WeightsUnavailable, match="reinstall"):
        Fingerprinter.load(tmp_path)


def test_the_shipped_calibration_belongs_to_the_shipped_weights() -> None:
    """Retraining without calibrating would give wrong probabilities."""
    card = json.loads((windows.WEIGHTS / "fingerprint.json").read_text())
    assert json.loads((windows.WEIGHTS / "calibration.json").read_text())["weights_sha256"] == card["sha256"]
