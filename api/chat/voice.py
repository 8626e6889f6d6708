"""What of one session blocks: decoding what the client says, marking, registering and encoding what we say.

    frames = voice.hear(packet)         # for the model: 1920 samples each
    pages = voice.say(speech_T)         # for the client: marked, and durable before they are returned
    tail = voice.finish()

All of it runs in one thread of the session, which must be the thread that opened it and must live as long
(`audio.OpusDecoder`). What `say` returned is released; `api.marked_stream` says what a crash then
leaves. Not here: the model, the socket."""

import contextlib
import logging
from typing import Self

import numpy as np
from numpy.typing import NDArray

from api.marked_stream import MarkedStream
from api.service import Service
from audio import OpusDecoder, OpusWriter
from registry import RegistryError
from registry.log import TransparencyLog

log = logging.getLogger(__name__)

FRAME_SAMPLES = 1920
"""80 ms at 24 kHz: what the model hears and says at a time."""

PUBLIC_S = 2.0
"""How long the end of a session waits for its receipt to exist; a batch of the log takes 0.1 to 0.3 s."""


class Voice:
    """One session's ears and mouth."""

    def __init__(self, decoder: OpusDecoder, stream: MarkedStream, log: TransparencyLog) -> None:
        self.generation_id = stream.generation_id
        self.content_id = stream.generation.content_id
        self._decoder = decoder
        self._stream = stream
        self._log = log
        self._writer = OpusWriter()
        self._heard_T = np.zeros(0, np.float32)

    @classmethod
    def open(cls, service: Service, model: str) -> Self:
        """Start the decoder, then make the generation durable. Raises DecodeError, RegistryError; either way
        no process stays and nothing was released."""
        decoder = OpusDecoder()
        try:
            return cls(decoder, service.open_stream(model), service.registry.log)
        except BaseException:
            decoder.close()
            raise

    def hear(self, packet: bytes) -> list[NDArray[np.float32]]:
        """The frames that one Opus packet completes. Raises DecodeError when the decoder died of it."""
        self._heard_T = np.concatenate([self._heard_T, self._decoder.decode(packet)])
        num_frames = len(self._heard_T) // FRAME_SAMPLES
        frames_FT = self._heard_T[: num_frames * FRAME_SAMPLES].reshape(num_frames, FRAME_SAMPLES)
        self._heard_T = self._heard_T[num_frames * FRAME_SAMPLES :]
        return list(frames_FT)

    def say(self, speech_T: NDArray[np.float32]) -> bytes:
        """The Ogg pages that some speech completes, maybe none. Raises as `MarkedStream.push`."""
        return self._writer.push(self._stream.push(speech_T))

    def finish(self) -> bytes:
        """End the speech in order: the last pages. The generation is complete, or aborted when nothing was
        ever said; when it returns its last log entry is public, unless the log takes none within PUBLIC_S.
        Raises as `MarkedStream.finish`, after aborting."""
        self._decoder.close()
        if not self._stream.num_released_samples:
            self._stream.abort()
            return b""
        try:
            tail = self._writer.push(self._stream.finish()) + self._writer.flush()
        except BaseException:
            self.abort()
            raise
        with contextlib.suppress(RegistryError):  # it is durable, and the next batch makes it public
            self._log.wait(self.generation_id, PUBLIC_S)
        return tail

    def abort(self) -> None:
        """End it after a fault. Never raises: a row that cannot be aborted now is aborted with the next one
        that is begun."""
        self._decoder.close()
        with contextlib.suppress(Exception):
            self._stream.abort()
        log.warning("generation %s was aborted", self.generation_id)
