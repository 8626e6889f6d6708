"""Fingerprint one generation while it is released: push what leaves, then finish or abort.

    recording.push(wav_T)  ──► Fingerprinter ──► pending windows ──(each second of audio)──► one transaction

What a crash leaves, step by step:
  (1) between two writes: the generation is open without its last windows (at most 1 s of audio and what one
      window still waits for); its owner's death turns it to aborted, and what was written stays searchable;
  (2) inside a write: the same, since a write is one transaction;
  (3) after the last windows, before the state: all windows, state open, then aborted by recovery;
  (4) after the state: complete.
"""

import enum
import hashlib
import uuid
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from audio import SAMPLE_RATE_HZ
from audio.decode import MAX_PEAK
from registry import generations
from registry.database import Database
from registry.errors import GenerationClosed, RegistryInputError
from registry.generations import Chunk
from registry.owner import OwnerLock
from registry.records import Generation

WRITE_EVERY_SAMPLES = SAMPLE_RATE_HZ  # the design's promise: windows follow within 1 s


class Windows(Protocol):
    """Consecutive windows; `registry.fingerprint.windows.Windows`."""

    @property
    def first_window(self) -> int: ...
    @property
    def codes_ND(self) -> NDArray[np.int8]: ...  # noqa: N802
    @property
    def signs_NB(self) -> NDArray[np.uint8]: ...  # noqa: N802
    @property
    def informative_N(self) -> NDArray[np.bool_]: ...  # noqa: N802


class StreamingFingerprinter(Protocol):
    """What a recording needs of a fingerprinter: the same windows for any chunking, each given out once.

    Windows come in order, without gap, from number 0; `push` may return none. Never called concurrently on
    one state; `registry.fingerprint.windows.Fingerprinter` is the one the service uses.
    """

    def open(self) -> Any: ...
    def push(self, state: Any, wav_T: NDArray[np.float32], /) -> Windows: ...
    def flush(self, state: Any, /) -> Windows: ...


class RecordingState(enum.Enum):
    """What may still be called."""

    OPEN = "open"  # push, finish, abort
    FINISHED = "finished"  # nothing; the generation is complete
    ABORTED = "aborted"  # nothing; the generation is aborted


class Recording:
    """The stream of one generation. For one thread at a time; any number of recordings run side by side."""

    def __init__(
        self,
        database: Database,
        owner: OwnerLock,
        fingerprinter: StreamingFingerprinter,
        fp_model_id: int,
        generation_id: uuid.UUID,
    ) -> None:
        self.generation_id = generation_id
        self.state = RecordingState.OPEN
        self._database = database
        self._owner = owner
        self._fingerprinter = fingerprinter
        self._fp_model_id = fp_model_id
        self._stream = fingerprinter.open()
        self._pending: list[Windows] = []
        self._sha256 = hashlib.sha256()
        self._num_samples = 0
        self._num_samples_written = 0
        self._flushed = False

    def push(self, wav_T: NDArray[np.float32]) -> None:
        """Take the next samples: float32 [T] at 24 kHz, finite, any T.

        When it returns, every window that was complete 1 s of audio ago is durable. Raises
        `RegistryInputError` (nothing was taken), `GenerationClosed`, or `DatabaseUnavailable`: then the
        samples were taken, so never push them again; the next push or `finish` writes what is missing.
        """
        self._require_open()
        check_samples(wav_T)
        samples = np.ascontiguousarray(wav_T, dtype="<f4")
        self._sha256.update(samples.data)
        self._num_samples += len(samples)
        self._take(self._fingerprinter.push(self._stream, samples))
        if self._num_samples - self._num_samples_written >= WRITE_EVERY_SAMPLES:
            self._write()

    def finish(self, file_sha256: bytes | None = None) -> Generation:
        """Fingerprint the tail, write it, and close the generation as complete with duration and hash.

        `file_sha256` is of the file to be released, so that its receipt can vouch for every byte; None for a
        stream. May be called again after `DatabaseUnavailable`. Raises `GenerationClosed`.
        """
        self._end_of_audio()
        with self._database.transaction() as connection:
            self._append(connection)
            digest = self._sha256.digest()
            generation = generations.finish(
                connection, self.generation_id, self._num_samples, digest, file_sha256
            )
        self.state = RecordingState.FINISHED
        return generation

    def abort(self) -> Generation:
        """Close the generation as aborted. What was pushed was released, so its windows are written first.

        May be called again after `DatabaseUnavailable`. Raises `GenerationClosed` when it is complete.
        """
        self._end_of_audio()
        with self._database.transaction() as connection:
            self._append(connection)
            generation = generations.abort(connection, self.generation_id)
        self.state = RecordingState.ABORTED
        return generation

    def _end_of_audio(self) -> None:
        self._require_open()
        if not self._flushed:
            self._take(self._fingerprinter.flush(self._stream))
            self._flushed = True
        self._owner.hold()

    def _write(self) -> None:
        self._owner.hold()
        with self._database.transaction() as connection:
            self._append(connection)
        self._pending.clear()  # kept when the commit failed, so that the next write begins with them
        self._num_samples_written = self._num_samples

    def _append(self, connection: Connection) -> None:
        if not self._pending:
            return
        chunk = Chunk(
            first_window=self._pending[0].first_window,
            codes_ND=np.concatenate([windows.codes_ND for windows in self._pending]),
            signs_NB=np.concatenate([windows.signs_NB for windows in self._pending]),
            informative_N=np.concatenate([windows.informative_N for windows in self._pending]),
            fp_model_id=self._fp_model_id,
        )
        generations.append(connection, self.generation_id, chunk, self._num_samples)

    def _take(self, windows: Windows) -> None:
        if len(windows.codes_ND):
            self._pending.append(windows)

    def _require_open(self) -> None:
        if self.state is not RecordingState.OPEN:
            raise GenerationClosed(f"the recording of {self.generation_id} is {self.state.value}")


def check_samples(wav_T: NDArray[np.float32]) -> None:
    """Raise `RegistryInputError` unless these are floating-point samples [T] as a decoded file may have them:
    the powers of much louder ones are not finite."""
    if wav_T.ndim != 1 or not np.issubdtype(wav_T.dtype, np.floating):
        raise RegistryInputError(f"samples must be float32 [T], not {wav_T.dtype} of shape {wav_T.shape}")
    if not np.abs(wav_T).max(initial=0.0) <= MAX_PEAK:  # NaN is not, either
        raise RegistryInputError(
            f"samples must be finite and full scale is 1: there is NaN or more than {MAX_PEAK:g} in the audio"
        )
