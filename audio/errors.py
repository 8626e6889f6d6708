"""Every error that `audio` raises.

    AudioError
    ├── AudioFormatError     not a container we accept: send one of those named in the message
    ├── DecodeError          a container we accept, but no audio came out; `.reason` says why
    ├── EncodeError          the array, the rate or the codec does not fit the container
    └── CorpusError          the data folder is not there or its index does not read

Foreign errors (FFmpeg, OSError) stop at this border: they are the `__cause__`, never what is raised.
"""

from enum import StrEnum


class AudioError(Exception):
    """Base of all errors of this package."""


class AudioFormatError(AudioError):
    """The bytes are not one of the accepted containers, or hold a codec that is not accepted."""


class DecodeFailure(StrEnum):
    """Why an accepted container gave no audio."""

    MALFORMED = "malformed"  # the structure contradicts itself, or the decoder refused it
    CRASHED = "crashed"  # the decoder process died by a signal
    TIMED_OUT = "timed_out"  # wall clock or processor time was used up
    OUT_OF_MEMORY = "out_of_memory"  # the address space was used up
    TOO_LONG = "too_long"  # more audio than the limits allow
    TOO_LARGE = "too_large"  # more input bytes than the limits allow
    EMPTY = "empty"  # no bytes, or a well-formed file with no samples
    UNSUPPORTED_LAYOUT = "unsupported_layout"  # channels, sample rate or sample format out of range
    NOT_FINITE = "not_finite"  # samples that are NaN or infinite


class DecodeError(AudioError):
    """No audio came out of the file; `reason` is what a caller can branch on."""

    def __init__(self, reason: DecodeFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EncodeError(AudioError):
    """The audio cannot be written as asked."""


class CorpusError(AudioError):
    """The folder of recordings cannot be used."""
