"""Watermarks for speech: embed a payload, detect it later, say how sure. Importing this starts nothing."""

from watermark.detector import Detector, load_public
from watermark.embedder import Embedder, EmbedState
from watermark.errors import KeyFileError, SignalError, StreamClosedError, WatermarkError, WeightsError
from watermark.issued import Codebook, Recognised, contradicts, recognise
from watermark.keys import Key
from watermark.payload import ID_BITS
from watermark.result import Detection, MarkSegment, Outcome
from watermark.warp import Warp

__all__ = [
    "ID_BITS",
    "Codebook",
    "Detection",
    "Detector",
    "EmbedState",
    "Embedder",
    "Key",
    "KeyFileError",
    "MarkSegment",
    "Outcome",
    "Recognised",
    "SignalError",
    "StreamClosedError",
    "Warp",
    "WatermarkError",
    "WeightsError",
    "contradicts",
    "load_public",
    "recognise",
]
