"""Recordings and keys that the watermark tests share."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from audio import corpus
from watermark import Detector, Embedder, Key

Floats = npt.NDArray[np.float32]

ASSETS = Path(__file__).parent.parent / "assets"
VOICES = (
    "kathleen_1",
    "kathleen_2",
    "kerstin_1",
    "kerstin_2",
    "amelia",
    "krisgesling",
    "eltocino",
    "adocampo",
)


@pytest.fixture(scope="session")
def voices() -> dict[str, Floats]:
    """The shipped recordings by name, float32 [T] at 24 kHz."""
    return {name: corpus.read(ASSETS / f"{name}.flac") for name in VOICES}


@pytest.fixture(scope="session")
def key() -> Key:
    """A key of the tests' own; it guards nothing."""
    return Key(bytes(range(16)))


@pytest.fixture(scope="session")
def embedder(key: Key) -> Embedder:
    return Embedder.load(key=key)


@pytest.fixture(scope="session")
def detector(key: Key) -> Detector:
    return Detector.load(key=key)
