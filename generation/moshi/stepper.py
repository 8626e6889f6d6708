"""One frame in, one frame out: which tokens enter the network, which leave it, and how rows stay apart.

`push` at step s of a row:

(1) the user's tokens of the frame are kept, each codebook until its delay has passed;
(2) the network's input is, row by row, the token that became due at s, or the initial token while s <= delay;
(3) temporal step, text logits, text token;
(4) depth steps, one audio token for each spoken codebook;
(5) both are kept as due at s + 1;
(6) the answer gathers what belongs to one frame: codebook k from `max_delay - delay_k` steps ago.

So the answer of step s is frame s - max_delay: the first step answers nothing and does not hear the user's
frame, and the theoretical latency is one frame and the acoustic delay, 160 ms.
Dimension key: B rows, R rows of a frame's tokens, K spoken codebooks, V vocabulary, E width, S slots.
Source: kyutai-labs/moshi@e6a55d2, models/lm.py, LMGen.step; differs: states are data, sampling is set for
each row, noise is an input, a row that is not ready says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generation.errors import FrameError
from generation.moshi.config import UNGENERATED, ZERO_TOKEN
from generation.moshi.model import DepthState, Moshi
from generation.moshi.sampling import Choice, Noise, NoiseSource, Sampling, choose
from generation.streaming import reset_rows, write_rows
from generation.streaming.transformer import TransformerState

TextLogitsHook = Callable[[Tensor], Tensor]
AudioLogitsHook = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: `null + coefficient * (logits - null)` (Ho and Salimans, 2022).

    The null stream differs by its condition, or by hearing nothing for its first `masked_frames`, or by not
    seeing its own text (`without_text`: then text is not guided).
    """

    coefficient: float
    masked_frames: int | None = None
    without_text: bool = False


@dataclass(frozen=True)
class Step:
    """What one step gave: frame s - max_delay of each row, aligned, ready for the codec."""

    tokens_BR: Tensor  # int64 [B, 1 + K], text first; UNGENERATED in rows that are not ready
    ready_B: Tensor  # bool
    hidden_B1E: Tensor  # z of the temporal transformer, for extra heads


@dataclass
class StepperState:
    """All that a stream has said and heard and is still needed."""

    tokens_BRS: Tensor  # int64; ring of due tokens
    step_B: Tensor  # int64; steps taken
    temporal: TransformerState
    depth: DepthState


class Stepper:
    """Steps a `Moshi` for `batch_size` rows that start, rest and end on their own. For one thread."""

    def __init__(
        self,
        model: Moshi,
        batch_size: int,
        *,
        guidance: Guidance | None = None,
        condition_B1E: Tensor | None = None,
        on_text_logits: TextLogitsHook | None = None,
        on_audio_logits: AudioLogitsHook | None = None,
    ) -> None:
        """`condition_B1E`: added to every input; with guidance, [2 B, 1, E], null conditions last. The hooks
        see and return logits [B, V] before sampling; under a captured graph they run once, at capture."""
        config, device = model.config, model.device
        self.model, self.batch_size, self.guidance = model, batch_size, guidance
        self.condition_B1E = condition_B1E
        self._on_text, self._on_audio = on_text_logits, on_audio_logits
        self._num_slots = config.max_delay + 2
        self._delays_R = torch.tensor(config.delays, device=device)
        initial = [config.text_initial] + [config.audio_initial] * config.num_audio
        self._initial_R = torch.tensor(initial, device=device)
        self.text_choice = Choice.rows(batch_size, device)
        self.audio_choice = Choice.rows(batch_size, device)
        text_outputs = config.text_outputs or config.text_vocabulary
        self.noise = Noise.empty(batch_size, text_outputs, config.num_spoken, config.audio_vocabulary, device)
        self._sources: list[NoiseSource | None] = [None] * batch_size

    @property
    def latency_frames(self) -> int:
        """Frames between hearing and the answer of the same step."""
        return self.model.config.max_delay

    def open(self) -> StepperState:
        """All rows at their beginning."""
        B, config = self.batch_size, self.model.config
        num_streams = B if self.guidance is None else 2 * B
        device = self.model.device
        return StepperState(
            torch.zeros(B, config.num_rows, self._num_slots, dtype=torch.long, device=device),
            torch.zeros(B, dtype=torch.long, device=device),
            self.model.open(num_streams),
            self.model.open_depth(num_streams),
        )

    def begin_row(
        self, state: StepperState, row: int, sampling: Sampling, source: NoiseSource | None
    ) -> None:
        """Start a new stream on a row. Without a source, its choices are greedy."""
        rows_B = torch.arange(self.batch_size, device=self.model.device) == row
        reset_rows([state.tokens_BRS, state.step_B], rows_B)
        reset_rows([state.temporal, state.depth], self._streams(rows_B))
        silent = source is None
        self.audio_choice.set(row, 0.0 if silent else sampling.temperature, sampling.top_k)
        self.text_choice.set(row, 0.0 if silent else sampling.text_temperature, sampling.text_top_k)
        self._sources[row] = source

    def draw(self, rows: Sequence[int]) -> None:
        """Fill the noise of the rows that take the next step."""
        for row in rows:
            source = self._sources[row]
            if source is not None:
                source.fill(self.noise.text_BV[row], self.noise.audio_BKV[row])

    @torch.no_grad()
    def push(
        self,
        state: StepperState,
        heard_BK: Tensor,
        live_B: Tensor | None = None,
        *,
        text_B: Tensor | None = None,
        num_slots: int | None = None,
    ) -> Step:
        """One frame for every live row. `heard_BK`: the user's codes, semantic first; more codebooks than
        the model hears are dropped. `text_B`: text to say instead of sampling it, UNGENERATED where it is
        sampled. `num_slots`: see `Transformer.push`. Raises FrameError; codes are not checked against the
        vocabulary."""
        self._check(heard_BK)
        live_B = torch.ones_like(state.step_B, dtype=torch.bool) if live_B is None else live_B
        self._hear(state, heard_BK, live_B)  # (1)
        tokens_BR, initial_BR = self._due(state, live_B)  # (2)
        z_B1E, text_logits_BV = self._listen(state, tokens_BR, initial_BR, live_B, num_slots)
        chosen_B = choose(text_logits_BV, self.noise.text_BV, self.text_choice)  # (3)
        if text_B is not None:
            chosen_B = torch.where(text_B == UNGENERATED, chosen_B, text_B)
        audio_BK = self.speak(state.depth, z_B1E, chosen_B)  # (4)
        write_rows(state.step_B, state.step_B + 1, live_B)
        self._keep(state, 0, torch.cat([chosen_B[:, None], audio_BK], dim=1), live_B)  # (5)
        ready_B = live_B & (state.step_B > self.model.config.max_delay)
        spoken_BR = self._gather(state).masked_fill(~ready_B[:, None], UNGENERATED)  # (6)
        return Step(spoken_BR, ready_B, z_B1E[: self.batch_size])

    def speak(self, state: DepthState, z_B1E: Tensor, text_B: Tensor) -> Tensor:
        """The audio tokens [B, K] of a frame whose text is chosen."""
        token_B, spoken = text_B, []
        for k in range(self.model.config.num_spoken):
            logits_BV = self.model.depth(state, k, z_B1E, self._streams(token_B))
            logits_BV = self._guided(logits_BV)
            if self._on_audio is not None:
                logits_BV = self._on_audio(k, logits_BV)
            token_B = choose(logits_BV, self.noise.audio_BKV[:, k], self.audio_choice)
            spoken.append(token_B)
        return torch.stack(spoken, dim=1)

    def _check(self, heard_BK: Tensor) -> None:
        B, num_heard = self.batch_size, self.model.config.num_heard
        if heard_BK.dim() != 2 or heard_BK.shape[0] != B or heard_BK.shape[1] < num_heard:
            raise FrameError(
                f"the user's codes come as [{B} rows, at least {num_heard} codebooks],"
                f" not {list(heard_BK.shape)}"
            )

    def _hear(self, state: StepperState, heard_BK: Tensor, live_B: Tensor) -> None:
        num_heard = self.model.config.num_heard
        if num_heard:
            first = self.model.config.num_rows - num_heard
            self._keep(state, first, heard_BK[:, :num_heard], live_B, self._delays_R[first:])

    def _keep(
        self,
        state: StepperState,
        first: int,
        tokens_BR: Tensor,
        live_B: Tensor,
        delays_R: Tensor | int = 0,
    ) -> None:
        """Write tokens of rows `first` and on as due `delays_R` steps after the row's step."""
        ring_BRS = state.tokens_BRS[:, first : first + tokens_BR.shape[1]]
        slots_BR1 = ((state.step_B[:, None] + delays_R) % self._num_slots).expand_as(tokens_BR)[..., None]
        write_rows(ring_BRS, ring_BRS.scatter(2, slots_BR1, tokens_BR[..., None]), live_B)

    def _due(self, state: StepperState, live_B: Tensor) -> tuple[Tensor, Tensor]:
        """The input of this step [B, R], and where it is the initial token."""
        initial_BR = (state.step_B[:, None] <= self._delays_R) | ~live_B[:, None]
        slots_BR1 = (state.step_B % self._num_slots)[:, None, None].expand(-1, len(self._delays_R), 1)
        due_BR = state.tokens_BRS.gather(2, slots_BR1)[..., 0]
        return torch.where(initial_BR, self._initial_R, due_BR), initial_BR

    def _gather(self, state: StepperState) -> Tensor:
        """Text and audio of one frame: what was due `max_delay - delay` steps ago, [B, 1 + K]."""
        num_out = 1 + self.model.config.num_spoken
        late_R = self.model.config.max_delay - self._delays_R[:num_out]
        slots_BR1 = ((state.step_B[:, None] - late_R) % self._num_slots)[..., None]
        return state.tokens_BRS[:, :num_out].gather(2, slots_BR1)[..., 0]

    def _listen(
        self,
        state: StepperState,
        tokens_BR: Tensor,
        initial_BR: Tensor,
        live_B: Tensor,
        num_slots: int | None,
    ) -> tuple[Tensor, Tensor]:
        if self.guidance is not None:
            tokens_BR = torch.cat([tokens_BR, self._null(state, tokens_BR, initial_BR)])
        z_B1E, logits_B1V = self.model.listen(
            state.temporal,
            tokens_BR[..., None],
            self._streams(live_B),
            condition_B1E=self.condition_B1E,
            num_slots=num_slots,
        )
        guided = self.guidance is None or not self.guidance.without_text
        logits_BV = self._guided(logits_B1V[:, 0]) if guided else logits_B1V[: self.batch_size, 0]
        return z_B1E, logits_BV if self._on_text is None else self._on_text(logits_BV)

    def _null(self, state: StepperState, tokens_BR: Tensor, initial_BR: Tensor) -> Tensor:
        """The input of the null streams."""
        guidance = self.guidance
        assert guidance is not None
        if guidance.masked_frames is not None:
            masked_BR = state.step_B[:, None] <= self._delays_R + guidance.masked_frames
            tokens_BR = tokens_BR.masked_fill(masked_BR & ~initial_BR, ZERO_TOKEN)
        if guidance.without_text:
            text_BR = torch.arange(tokens_BR.shape[1], device=tokens_BR.device) == 0
            tokens_BR = tokens_BR.masked_fill(text_BR & ~initial_BR, ZERO_TOKEN)
        return tokens_BR

    def _guided(self, logits_BV: Tensor) -> Tensor:
        if self.guidance is None:
            return logits_BV
        logits_BV, null_BV = logits_BV.chunk(2)
        return null_BV + (logits_BV - null_BV) * self.guidance.coefficient

    def _streams(self, rows_B: Tensor) -> Tensor:
        """Per row to per stream: with guidance, each row has a null stream in the second half."""
        return rows_B if self.guidance is None else rows_B.repeat(2)
