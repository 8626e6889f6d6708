"""Mark speech while it leaves: one generation as a stream, for everything that speaks live.

    stream = MarkedStream.open(registry, embedder, new)
    marked_T = stream.push(wav_T)         # may be released as soon as it is returned
    tail_T = stream.finish()

The order of writes, and what a crash after each leaves; recovery aborts the row once its owner is dead:

(1) open: the generation's row, durable     a row "open" without fingerprints, of audio that nobody received
(2) open: wait until the log has signed it  as (1); the entry may become public without us
(3) push: mark                              as before this push
(4) push: fingerprints, once a second       the row with the windows that were written; they are searchable
(5) push returns: the caller may release    as (4); of what was released, at most the last second and the
                                            window it began are not fingerprinted
(6) finish: last windows, state, hash       a row "complete" of everything that was released

An error inside `push` releases nothing of that push; the caller then aborts. What cannot be aborted, since
the database is away, is aborted with the next generation that is begun. Not covered: files (`api.marking`),
encoding, who listens."""

from typing import Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from registry import Generation, GenerationClosed, NewGeneration, Recording, Registry
from registry.log import Receipt
from watermark import Embedder, EmbedState


class MarkedStream:
    """One live generation. For one thread at a time; blocks for the database about once a second."""

    def __init__(
        self,
        registry: Registry,
        generation: Generation,
        receipt: Receipt,
        recording: Recording,
        embedder: Embedder,
    ) -> None:
        self.generation = generation
        self.receipt = receipt  # that the log holds it
        self.num_released_samples = 0  # at 24 kHz: what push and finish have returned
        self._registry = registry
        self._recording = recording
        self._embedder = embedder
        self._mark: EmbedState = embedder.open(payload=generation.content_id)

    @classmethod
    def open(cls, registry: Registry, embedder: Embedder, new: NewGeneration) -> Self:
        """Make the row durable, with its content id (1), and its log entry public (2). Raises RegistryError;
        then there is at most a row without audio, which is aborted."""
        generation = registry.begin(new)
        try:
            recording = registry.recording(generation.generation_id)
            receipt = registry.log.wait(generation.generation_id)
        except BaseException:
            registry.abandon(generation.generation_id)
            raise
        return cls(registry, generation, receipt, recording, embedder)

    @property
    def generation_id(self) -> UUID:
        return self.generation.generation_id

    @property
    def latency_samples(self) -> int:
        """How far what `push` returns is behind what it took, at most; at 24 kHz."""
        return self._embedder.latency_samples

    def push(self, wav_T: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples (float32 [T] at 24 kHz, any T); return the marked samples that are ready.

        Raises SignalError for anything but finite samples, GenerationClosed, DatabaseUnavailable: then this
        push released nothing, and the stream can only be aborted.
        """
        return self._record(self._embedder.push(self._mark, wav_T))  # (3)

    def finish(self) -> NDArray[np.float32]:
        """End the speech: return its last samples (up to `latency_samples`), the generation is complete.

        (6) Durable when it returns. Raises as `push`; abort then.
        """
        tail_T = self._record(self._embedder.flush(self._mark))
        self._recording.finish()
        return tail_T

    def abort(self) -> None:
        """End the generation as aborted; what was released stays searchable.

        Raises GenerationClosed when it is ended already; DatabaseUnavailable: then it is aborted by
        `Registry.abandon`, and its last second of audio is not fingerprinted.
        """
        try:
            self._recording.abort()
        except GenerationClosed:
            raise
        except BaseException:
            self._registry.abandon(self.generation_id)
            raise

    def _record(self, marked_T: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(marked_T):
            self._recording.push(marked_T)  # (4)
        self.num_released_samples += len(marked_T)
        return marked_T  # (5)
