"""Speech of our own, marked while it is made: what `earmark say` and `POST /v1/generations` release.

    request = speaker.read(text, style=...)             # refuses what cannot be said; nothing is registered
    speech = MarkedSpeech.begin(service, speaker, request, seed=7)
    for marked_T in speech: ...                         # may be released as soon as it is given

The order of writes and what a crash leaves are those of `api.marked_stream`. Whoever stops asking before the
end (`close`, or an error in between) leaves an `aborted` row of what was released, which stays searchable.
Not here: files, HTTP, which model."""

import contextlib
from collections.abc import Generator, Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from api.marked_stream import MarkedStream
from api.schemas import content_id_hex
from api.service import Service
from audio import SAMPLE_RATE_HZ
from generation import Speaker, SpeechRequest
from registry import Generation, RegistryError
from registry.log import Receipt


class MarkedSpeech:
    """One utterance on its way out. An iterator of float32 [T] at 24 kHz, for one thread at a time."""

    def __init__(self, stream: MarkedStream, frames: Iterator[NDArray[np.float32]]) -> None:
        self.generation: Generation = stream.generation
        self.receipt: Receipt = stream.receipt
        self._stream = stream
        self._released = self._marked(frames)

    @classmethod
    def begin(
        cls, service: Service, speaker: Speaker, request: SpeechRequest, *, seed: int | None = None
    ) -> Self:
        """Make the generation durable; nothing is spoken yet. Raises RegistryError."""
        return cls(service.open_stream(speaker.name), speaker.say(request, seed=seed))

    @property
    def content_id_hex(self) -> str:
        """Twelve hex digits, as in every public answer."""
        return content_id_hex(self.generation.content_id)

    @property
    def duration_s(self) -> float:
        """Of what was released."""
        return self._stream.num_released_samples / SAMPLE_RATE_HZ

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NDArray[np.float32]:
        """The next marked samples, at least one. Raises as `MarkedStream.push`; the row is aborted then."""
        return next(self._released)

    def close(self) -> None:
        """Stop here. The row becomes aborted unless all was said; may be repeated."""
        self._released.close()
        self._abort()

    def _marked(self, frames: Iterator[NDArray[np.float32]]) -> Generator[NDArray[np.float32], None, None]:
        try:
            for frame_T in frames:
                marked_T = self._stream.push(frame_T)
                if len(marked_T):
                    yield marked_T
            tail_T = self._stream.finish()
        except BaseException:
            self._abort()
            raise
        if len(tail_T):
            yield tail_T

    def _abort(self) -> None:
        # When this fails too, the row is aborted with the next one that is begun.
        with contextlib.suppress(RegistryError):
            self._stream.abort()
