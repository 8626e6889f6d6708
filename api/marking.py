"""Mark a file of speech that another engine made. This and `api.marked_stream`, for speech that leaves while
it is made, are the only places that compose watermark and registry.

The order of writes, and what a crash after each leaves; nothing is released before all of them:

(1) decode, in a child process              nothing
(2) begin: the generation's row, durable    a row "open" without fingerprints, aborted once its owner is dead
(3) mark, at the file's own rate            as (2)
(4) fingerprints of the marked audio        as (2), with what was written; searchable
(5) encode                                  as (4)
(6) finish, with the released file's hash   a row "complete" of audio that nobody received
(7) log: wait for the receipt               as (6); the entry may become public without us
(8) return: the caller may release          the same row; whatever was received is in registry and log

What is fingerprinted is the marked audio at 24 kHz, mono: what a decoder makes of the released file, up to
the loss of its codec. An error in (3) to (6) releases nothing and aborts the generation, at once or, when the
database is away, with the next one that is begun; only when (6) was kept and reported as failed is it
complete, as after a crash there. Not covered: streaming (`api.marked_stream`); the whole file is marked
before its first byte leaves."""

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.errors import OriginError
from api.schemas import content_id_hex
from audio import (
    SAMPLE_RATE_HZ,
    DecodeError,
    DecodeFailure,
    DecodeLimits,
    EncodeError,
    NativeAudio,
    SourceInfo,
    decode_native,
    encode,
    media_type,
    resample,
    writable_containers,
)
from registry import Generation, NewGeneration, Recording, Registry
from registry.log import Receipt
from watermark import Embedder

log = logging.getLogger(__name__)

ORIGIN_TEXT = re.compile(r"[\w.+/@:() -]{1,100}")
"""What system, system_version and model may look like: "Acme TTS", "2.1.0+cpu", "kyutai/moshiko@1a2b"."""

MIN_BIT_RATE = 64_000
MAX_BIT_RATE = 256_000
"""Bit/s per file for lossy containers: the source's own rate within these. Below, our encoder would wear
down the mark that was just put on; above, there is nothing to hear."""

LEAST_MIX = 1e-3
"""Power of the mono mix beside that of the channels, at least: unlike channels have 1 in their number,
and two of which one is the other turned upside down have nothing."""

LOSSY_CONTAINERS = frozenset({"mp3", "ogg", "m4a"})


@dataclass(frozen=True)
class Origin:
    """Which engine made the speech, as the marking caller says. Raises OriginError; never put personal data
    here.

    Each is 1 to 100 letters, digits, spaces and . + / @ : ( ) - _ and is public.
    """

    system: str = "unnamed"
    system_version: str = "unknown"
    model: str = "unknown"

    def __post_init__(self) -> None:
        for name in ("system", "system_version", "model"):
            if not ORIGIN_TEXT.fullmatch(getattr(self, name)):
                raise OriginError(
                    f"{name} must be 1 to 100 letters, digits, spaces or any of . + / @ : ( ) - _"
                )


@dataclass(frozen=True)
class MarkedFile:
    """A marked file that may be released, and under which ids the registry holds it."""

    data: bytes
    container: str  # "wav", "flac", "mp3", "ogg" or "m4a"
    media_type: str  # for the Content-Type header
    generation: Generation  # as it was begun
    receipt: Receipt  # that the log holds it; with the salt, so for whom the file is for

    @property
    def content_id_hex(self) -> str:
        """Twelve hex digits, as in every public answer."""
        return content_id_hex(self.generation.content_id)


def mark_file(
    data: bytes,
    origin: Origin,
    registry: Registry,
    embedder: Embedder,
    limits: DecodeLimits,
    container: str | None = None,
) -> MarkedFile:
    """Mark and register one audio file; rate, channels and length stay as they are.

    Without a `container` (one of `audio.writable_containers()`) the file's own stays when we can write it,
    else it becomes WAV; a lossy codec keeps its bit rate within MIN_BIT_RATE and MAX_BIT_RATE.
    Raises AudioError for bytes that give no audio or channels that cancel each other, RegistryError when the
    registry or its log cannot take it. Either way nothing was released.
    """
    native = decode_native(data, limits)  # (1)
    _check_channels(native.wav_CT)
    new = NewGeneration(origin.system, origin.system_version, origin.model, native.source.sample_rate_hz)
    generation = registry.begin(new)  # (2)
    with _aborted_on_error(registry, generation) as recording:
        marked_CT = embedder.mark(
            native.wav_CT, native.source.sample_rate_hz, payload=generation.content_id
        )  # (3)
        _push(recording, marked_CT, native.source.sample_rate_hz)  # (4)
        encoded, written = _encode(NativeAudio(marked_CT, native.source), container)  # (5)
        recording.finish(hashlib.sha256(encoded).digest())  # (6)
    receipt = registry.log.wait(generation.generation_id)  # (7)
    return MarkedFile(encoded, written, media_type(written), generation, receipt)  # (8)


def _check_channels(wav_CT: NDArray[np.float32]) -> None:
    """Mark and fingerprint are those of the mono mix: what is silent there would leave without either."""
    mono_T = wav_CT.mean(axis=0, dtype=np.float64)
    if np.square(mono_T).mean() < LEAST_MIX * np.square(wav_CT, dtype=np.float64).mean():
        raise DecodeError(
            DecodeFailure.UNSUPPORTED_LAYOUT,
            "its channels cancel each other in mono, where the mark is put; "
            "send one of them, or turn the polarity of one",
        )


@contextlib.contextmanager
def _aborted_on_error(registry: Registry, generation: Generation) -> Iterator[Recording]:
    try:
        yield registry.recording(generation.generation_id)
    except BaseException:
        registry.abandon(generation.generation_id)
        log.warning("generation %s was given up; nothing was released", generation.generation_id)
        raise


def _push(recording: Recording, marked_CT: NDArray[np.float32], rate_hz: int) -> None:
    """In one piece: nothing is released in between, so there is nothing to be in step with."""
    recording.push(resample(marked_CT.mean(axis=0, dtype=np.float32), rate_hz, SAMPLE_RATE_HZ))


def _encode(audio: NativeAudio, wanted: str | None = None) -> tuple[bytes, str]:
    """The file and its container: what is wanted, else the source's, else the nearest that can be written."""
    source = audio.source
    bit_rate = min(max(source.bit_rate, MIN_BIT_RATE), MAX_BIT_RATE)
    if wanted not in (None, source.container):
        rate = bit_rate if wanted in LOSSY_CONTAINERS else None
        return encode(audio.wav_CT, source.sample_rate_hz, wanted, bit_rate=rate), wanted
    for container, codec, rate in _ways_to_write(source, bit_rate):
        try:
            return encode(
                audio.wav_CT, source.sample_rate_hz, container, codec=codec, bit_rate=rate
            ), container
        except EncodeError as exc:
            log.info("%s of %d Hz and %d channels: %s", codec, source.sample_rate_hz, source.channels, exc)
    raise EncodeError(
        f"{source.channels} channels at {source.sample_rate_hz} Hz cannot be written, not even as WAV"
    )


def _ways_to_write(source: SourceInfo, bit_rate: int) -> list[tuple[str, str | None, int | None]]:
    """Container, codec (None: the container's default) and bit rate (None: the codec's default), best
    first."""
    ways: list[tuple[str, str | None, int | None]] = [("wav", "pcm_f32le", None)]
    if source.container in writable_containers():
        lossless = source.codec in ("flac", "alac") or source.codec.startswith("pcm")
        ways.insert(0, (source.container, None, None))
        ways.insert(0, (source.container, source.codec, None))
        if not lossless:
            ways.insert(0, (source.container, source.codec, bit_rate))
    return ways
