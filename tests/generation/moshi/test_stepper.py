"""What enters the network and what leaves it at each step, and rows that know nothing of each other."""

from typing import Any

import pytest
import torch
from torch import Tensor

from generation import FrameError
from generation.moshi import Moshi, Sampling, SeededNoise, Stepper
from generation.moshi.config import UNGENERATED
from tests.generation.moshi.small import CONFIG, run, small_moshi, user_codes

TEXT_INITIAL, AUDIO_INITIAL = CONFIG.text_initial, CONFIG.audio_initial


@pytest.fixture(scope="module")
def moshi() -> Moshi:
    return small_moshi()


class _Watched(Stepper):
    """A stepper that keeps what entered the network."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inputs: list[Tensor] = []

    def _listen(self, state: Any, tokens_BR: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        self.inputs.append(tokens_BR[0])
        return super()._listen(state, tokens_BR, *rest)


def test_the_trace_of_the_delays(moshi: Moshi) -> None:
    """Call 0 feeds initial tokens only; call 1 text and semantic of both sides; call 2 the acoustics as well.

    The answer of call n is frame n - 1: its text and semantic token were chosen at call n - 1, its acoustic
    tokens at call n. Every number below is one that some port of the published code has got wrong.
    """
    stepper = _Watched(moshi, 1)
    state = stepper.open()
    heard = torch.arange(1, 4)[:, None].expand(3, 8)  # the user's codes are 1, 2, 3
    answers = [stepper.push(state, heard[n : n + 1]) for n in range(3)]
    first, second, third = stepper.inputs

    assert first.tolist() == [TEXT_INITIAL] + [AUDIO_INITIAL] * 16
    assert second[2:9].tolist() == [AUDIO_INITIAL] * 7, "Moshi's acoustics have a delay of one frame"
    assert second[9].tolist() == 2, "the user's semantic code of the second frame"
    assert second[10:].tolist() == [AUDIO_INITIAL] * 7
    assert third[9].tolist() == 3 and third[10:].tolist() == [2] * 7

    assert not answers[0].ready_B.any() and answers[0].tokens_BR.eq(UNGENERATED).all()
    assert answers[1].ready_B.all()
    assert answers[1].tokens_BR[0, :2].tolist() == second[:2].tolist()
    assert answers[2].tokens_BR[0, :2].tolist() == third[:2].tolist()
    assert answers[1].tokens_BR[0, 2:].tolist() == third[2:9].tolist()


def test_the_first_frame_of_the_user_is_not_heard(moshi: Moshi) -> None:
    heard = user_codes(2, 20)
    heard[1] = heard[0]
    heard[1, 0] = 0
    answers = run(stepper := Stepper(moshi, 2), stepper.open(), heard)
    assert torch.equal(answers[0], answers[1])


def test_rows_that_start_and_rest_on_their_own_are_single_streams(moshi: Moshi) -> None:
    """A batch of three out of step, past the context, against each alone; sampled, so noise must not leak."""
    heard = user_codes(3, 50)
    sampling = Sampling(top_k=20, text_top_k=10)

    def source(row: int) -> SeededNoise:
        return SeededNoise(100 + row, moshi.device)

    alone = []
    for row in range(3):
        single = Stepper(moshi, 1)
        state = single.open()
        single.begin_row(state, 0, sampling, source(row))
        frames = []
        for n in range(50):
            single.draw([0])
            frames.append(single.push(state, heard[row : row + 1, n]).tokens_BR[0])
        alone.append(torch.stack(frames))

    together = Stepper(moshi, 3)
    state = together.open()
    for row in range(3):
        together.begin_row(state, row, sampling, source(row))
    taken, given = [0, 0, 0], [[], [], []]
    turn = 0
    while min(taken) < 50:
        turn += 1
        rows = [row for row in range(3) if taken[row] < 50 and (turn + row) % (row + 2) != 0]
        heard_BK = torch.stack([heard[row, min(taken[row], 49)] for row in range(3)])
        together.draw(rows)
        live_B = torch.tensor([row in rows for row in range(3)])
        answer = together.push(state, heard_BK, live_B)
        for row in rows:
            given[row].append(answer.tokens_BR[row])
            taken[row] += 1
    for row in range(3):
        assert torch.equal(torch.stack(given[row]), alone[row])


def test_a_resting_row_is_not_ready(moshi: Moshi) -> None:
    stepper = Stepper(moshi, 2)
    state = stepper.open()
    heard = user_codes(2, 3)
    for n in range(2):
        stepper.push(state, heard[:, n])
    answer = stepper.push(state, heard[:, 2], torch.tensor([True, False]))
    assert answer.ready_B.tolist() == [True, False]
    assert answer.tokens_BR[1].eq(UNGENERATED).all()


def test_a_row_that_begins_again_is_a_new_stream(moshi: Moshi) -> None:
    """The row beside it goes on as if nothing had happened."""
    heard = user_codes(2, 60)
    untouched = run(fresh := Stepper(moshi, 2), fresh.open(), heard)
    stepper = Stepper(moshi, 2)
    state = stepper.open()
    before = run(stepper, state, heard[:, :40])
    stepper.begin_row(state, 0, Sampling.greedy(), None)
    again = torch.cat([heard[:1, :20], heard[1:, 40:]])
    after = run(stepper, state, again)
    assert torch.equal(after[0], untouched[0, :20])
    assert torch.equal(torch.cat([before[1], after[1]]), untouched[1])


def test_text_that_is_given_is_said(moshi: Moshi) -> None:
    """`say` forces the words and leaves the speech to the model."""
    stepper = Stepper(moshi, 1)
    state = stepper.open()
    given = [7, 8, UNGENERATED, 9]
    heard = user_codes(1, 5)
    answers = [
        stepper.push(state, heard[:, n], text_B=torch.tensor([given[n] if n < 4 else UNGENERATED]))
        for n in range(5)
    ]
    said = [int(answer.tokens_BR[0, 0]) for answer in answers[1:]]
    assert said[0] == 7 and said[1] == 8 and said[3] == 9 and said[2] >= 0


def test_hooks_see_and_change_the_logits(moshi: Moshi) -> None:
    """A hook that leaves one token possible gets it."""
    seen = []

    def only_text(logits_BV: Tensor) -> Tensor:
        seen.append(tuple(logits_BV.shape))
        return torch.full_like(logits_BV, -1e9).index_fill(1, torch.tensor([4]), 0.0)

    def only_audio(codebook: int, logits_BV: Tensor) -> Tensor:
        return torch.full_like(logits_BV, -1e9).index_fill(1, torch.tensor([codebook + 1]), 0.0)

    stepper = Stepper(moshi, 2, on_text_logits=only_text, on_audio_logits=only_audio)
    answers = run(stepper, stepper.open(), user_codes(2, 3))
    assert answers[0, 2].tolist() == [4, 1, 2, 3, 4, 5, 6, 7, 8]
    assert seen == [(2, CONFIG.text_vocabulary)] * 3


@pytest.mark.parametrize("shape", [(2, 7), (1, 8), (2, 8, 1)])
def test_codes_that_do_not_fit_are_refused_and_change_nothing(moshi: Moshi, shape: tuple[int, ...]) -> None:
    stepper, heard = Stepper(moshi, 2), user_codes(2, 4)
    expected = run(stepper, stepper.open(), heard)
    state = stepper.open()
    with pytest.raises(FrameError, match="at least 8 codebooks"):
        stepper.push(state, torch.zeros(shape, dtype=torch.long))
    assert torch.equal(run(stepper, state, heard), expected)


def test_codebooks_beyond_what_is_heard_are_dropped(moshi: Moshi) -> None:
    stepper, heard = Stepper(moshi, 1), user_codes(1, 4)
    expected = run(stepper, stepper.open(), heard)
    more = torch.cat([heard, torch.full((1, 4, 24), 39)], dim=2)
    assert torch.equal(run(stepper, stepper.open(), more), expected)
