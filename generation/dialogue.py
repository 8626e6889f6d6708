"""A conversation: the user's frames in, text and speech out, 80 ms at a time, several streams at once.

    dialogue = Dialogue.load("kyutai/moshiko-pytorch-bf16", num_streams=2, device="cuda")
    row = dialogue.open(seed=7)
    spoken = dialogue.step({row: frame_T}).get(row)      # None while the stream warms up
    dialogue.close(row)

One step of every named row:

(1) its frame is encoded, except a stream's first, which is not heard: the model's first step takes initial
    tokens only, so the codec begins, with its left edge, at the frame that is heard first;
(2) the language model takes the user's codes and gives text and speech of one frame (moshi/stepper.py);
(3) the speech is decoded, as soon as the row has any.

All three are one function of tensors that live as long as the object; on CUDA it is one graph for each
number of attention slots. Rows are independent: what one says or hears, and when, never changes another.
Dimension key: B rows, T samples of a frame, K codebooks, R text and spoken codebooks, V vocabulary.
Source: kyutai-labs/moshi@e6a55d2, server.py (which encodes the first frame, ignores it and resets the
codec); differs: any number of streams, each starting and ending on its own. Not here: audio files, Opus,
marking.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generation.checkpoints import (
    Checkpoint,
    load_conditions,
    load_mimi,
    load_moshi,
    load_tokenizer,
    usual_conditions,
)
from generation.errors import CheckpointError, FrameError, NoFreeStream, UnknownStream
from generation.graphs import Recorded
from generation.mimi import Mimi
from generation.moshi import Guidance, Moshi, NoiseSource, Sampling, SeededNoise, Stepper
from generation.streaming import reset_rows
from generation.text import Text, TextState

Precision = Literal["float32", "bfloat16", "int8"]

LEAST_SLOTS = 256  # attention slots of the smallest graph; then twice as many, and so on


@dataclass(frozen=True)
class Spoken:
    """What one stream said in one step."""

    text: str  # "" when nothing new; a piece carries its leading space
    speech_T: NDArray[np.float32]  # one frame at 24 kHz, about [-1, 1]


@dataclass
class _Stream:
    text: TextState
    num_steps: int = 0


@dataclass(frozen=True)
class _Frame:
    """What the step's function gives: tensors that its next call overwrites."""

    text_B: Tensor
    ready_B: Tensor
    speech_BT: Tensor


class Dialogue:
    """One loaded model with `num_streams` rows. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        name: str,
        mimi: Mimi,
        moshi: Moshi,
        text: Text,
        *,
        num_streams: int = 1,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        guidance: Guidance | None = None,
        condition_B1E: Tensor | None = None,
    ) -> None:
        """`sampling`: of streams that name no other; `condition_B1E`: see `Stepper`."""
        if num_streams < 1:
            raise ValueError(f"num_streams is at least 1, not {num_streams}")
        self.name = name
        self.num_streams = num_streams
        self.frame_samples = mimi.config.frame_samples
        self.latency_samples = (1 + moshi.config.max_delay) * self.frame_samples
        self._mimi, self._text = mimi.prepare(), text
        self._sampling = sampling
        self._stepper = Stepper(
            moshi.prepare(num_streams), num_streams, guidance=guidance, condition_B1E=condition_B1E
        )
        self._context = moshi.config.temporal.context
        self._codec, self._model = mimi.open(num_streams), self._stepper.open()
        self._streams: dict[int, _Stream] = {}
        self._device = moshi.device
        self._wav_BT = torch.zeros(num_streams, self.frame_samples, device=self._device)
        self._live_B, self._hearing_B = (
            torch.zeros(num_streams, dtype=torch.bool, device=self._device) for _ in range(2)
        )
        self._frame = Recorded(self._run_frame, self._still, self._device)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        num_streams: int = 1,
        device: str = "cpu",
        precision: Precision | None = None,
    ) -> Self:
        """A model by name or from a folder (`Checkpoint.open`), with its own defaults of generation.

        `device`: cpu, cuda or mps. `precision` of the language model's weights (None: the file's); the codec
        is float32 throughout. Raises CheckpointError.
        """
        checkpoint = Checkpoint.open(model)
        if not checkpoint.moshi.num_heard:
            raise CheckpointError(f"{checkpoint.label} hears nobody, it only says texts: take another model")
        dtype = getattr(torch, precision) if precision in ("float32", "bfloat16") else None
        conditions = load_conditions(checkpoint, device)
        return cls(
            checkpoint.label,
            load_mimi(checkpoint, device),
            load_moshi(checkpoint, device, dtype, int8=precision == "int8"),
            load_tokenizer(checkpoint),
            num_streams=num_streams,
            sampling=checkpoint.sampling,
            guidance=checkpoint.guidance,
            condition_B1E=(
                None if conditions is None else usual_conditions(checkpoint, conditions, num_streams)
            ),
        )

    @property
    def num_free(self) -> int:
        """Rows that may be opened now."""
        return self.num_streams - len(self._streams)

    def open(
        self,
        *,
        seed: int | None = None,
        sampling: Sampling | None = None,
        noise: NoiseSource | None = None,
    ) -> int:
        """Begin a stream; returns its row. `seed` (None: from the system) repeats a stream on the same kind
        of device and the same number of rows; `noise` takes its place. Raises NoFreeStream."""
        row = next((row for row in range(self.num_streams) if row not in self._streams), None)
        if row is None:
            raise NoFreeStream(f"all {self.num_streams} streams are taken; close one or wait")
        rows_B = torch.arange(self.num_streams, device=self._device) == row
        reset_rows(self._codec, rows_B)
        source = noise or SeededNoise(seed, self._device)
        self._stepper.begin_row(self._model, row, sampling or self._sampling, source)
        self._streams[row] = _Stream(self._text.open())
        return row

    def close(self, row: int) -> None:
        """End a stream and free its row. Raises UnknownStream."""
        self._require(row)
        del self._streams[row]

    @torch.no_grad()
    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, Spoken]:
        """Advance the rows named by one frame each: float32 [1920] at 24 kHz, finite; other rows are
        untouched.

        A row is absent from the answer in its first step. Raises UnknownStream or FrameError, and then no
        row has moved.
        """
        if not frames:
            return {}
        for row, frame_T in frames.items():
            self._require(row)
            self._check(frame_T)
        self._take(frames)
        self._stepper.draw(list(frames))
        frame = self._frame(self._slots(frames))
        return self._answers(frames, frame)

    def _require(self, row: int) -> None:
        if row not in self._streams:
            raise UnknownStream(f"no stream is open on row {row}")

    def _check(self, frame_T: NDArray[np.float32]) -> None:
        if frame_T.shape != (self.frame_samples,) or not np.isfinite(frame_T).all():
            raise FrameError(
                f"a frame is {self.frame_samples} finite samples at 24 kHz, not {list(frame_T.shape)}"
            )

    def _take(self, frames: Mapping[int, NDArray[np.float32]]) -> None:
        self._live_B.zero_()
        self._hearing_B.zero_()
        for row, frame_T in frames.items():
            self._wav_BT[row] = torch.as_tensor(frame_T, dtype=torch.float32)
            self._live_B[row] = True
            self._hearing_B[row] = self._streams[row].num_steps > 0  # (1)

    def _slots(self, frames: Mapping[int, NDArray[np.float32]]) -> int:
        """Attention slots that cover the oldest of the rows: a power of two, at most the context."""
        steps = 1 + max(self._streams[row].num_steps for row in frames)
        slots = LEAST_SLOTS
        while slots < min(steps, self._context):
            slots *= 2
        return min(slots, self._context)

    def _run_frame(self, num_slots: int) -> _Frame:
        live_B = self._live_B
        codes_BKF = self._mimi.encode(self._codec, self._wav_BT, self._hearing_B)  # (1)
        on_cpu = self._device.type == "cpu"  # where reading the state costs nothing, and saves reading slots
        step = self._stepper.push(
            self._model, codes_BKF[:, :, 0], live_B, num_slots=None if on_cpu else num_slots
        )  # (2)
        spoken_BKF = step.tokens_BR[:, 1:, None].clamp(min=0)
        speech_BT = self._mimi.decode(self._codec, spoken_BKF, step.ready_B)  # (3)
        return _Frame(step.tokens_BR[:, 0], step.ready_B, speech_BT)

    @contextmanager
    def _still(self) -> Iterator[None]:
        """No row is live inside, so that a run changes no stream."""
        masks = (self._live_B, self._hearing_B)
        kept = [mask.clone() for mask in masks]
        for mask in masks:
            mask.zero_()
        try:
            yield
        finally:
            for mask, before in zip(masks, kept, strict=True):
                mask.copy_(before)

    def _answers(self, frames: Mapping[int, NDArray[np.float32]], frame: _Frame) -> dict[int, Spoken]:
        ready, text = frame.ready_B.tolist(), frame.text_B.tolist()
        speech_BT = frame.speech_BT.float().cpu().numpy()
        answers = {}
        for row in frames:
            stream = self._streams[row]
            stream.num_steps += 1
            if ready[row]:
                answers[row] = Spoken(self._text.push(stream.text, text[row]), speech_BT[row].copy())
        return answers
