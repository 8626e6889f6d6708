"""The errors of `watermark`, and what a caller does about each.

    WatermarkError
    ├── KeyFileError         the key file is missing, unreadable, foreign or open to others: fix the file
    ├── StreamClosedError    the stream was already flushed: open a new one
    ├── SignalError          the samples cannot be worked on: not finite, or not a waveform
    └── WeightsError         a public mark's file, or a published one, cannot be used: name another file

"No mark found" is a result (`Detection`), never an error.
"""


class WatermarkError(Exception):
    """Base of everything `watermark` raises on purpose."""


class KeyFileError(WatermarkError):
    """The key file cannot be used; the message says what to do."""


class StreamClosedError(WatermarkError):
    """`push` or `flush` was called on a stream that has been flushed."""


class SignalError(WatermarkError):
    """The samples are not a finite float waveform of the expected shape."""


class WeightsError(WatermarkError):
    """The weights of a public mark cannot be used; the message says what to do."""
