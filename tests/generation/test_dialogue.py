"""A conversation with the tiny model: rows, first frames, seeds, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from generation import Dialogue, FrameError, NoFreeStream, Sampling, Spoken, UnknownStream
from generation.checkpoints import Checkpoint, load_mimi, load_moshi, load_tokenizer
from generation.moshi import Stepper
from tests.generation.tiny import write_tiny_checkpoint

FRAME = 1920


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), seed=3)


@pytest.fixture
def dialogue(folder: Path) -> Dialogue:
    return Dialogue.load(folder, num_streams=3)


def _user(seed: int, num_frames: int = 30) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    wav_T = rng.normal(0, 0.1, num_frames * FRAME).astype(np.float32)
    return np.split(wav_T, num_frames)


def _alone(folder: Path, seed: int, frames: list[NDArray[np.float32]]) -> list[Spoken | None]:
    dialogue = Dialogue.load(folder)
    row = dialogue.open(seed=seed)
    return [dialogue.step({row: frame_T}).get(row) for frame_T in frames]


def _assert_same(actual: Spoken | None, expected: Spoken | None) -> None:
    assert (actual is None) == (expected is None)
    if actual is not None and expected is not None:
        assert actual.text == expected.text
        np.testing.assert_allclose(actual.speech_T, expected.speech_T, atol=1e-5)


def test_a_stream_answers_from_its_second_frame_on(dialogue: Dialogue) -> None:
    row = dialogue.open(seed=1)
    answers = [dialogue.step({row: frame_T}) for frame_T in _user(1, 4)]
    assert answers[0] == {}
    for answer in answers[1:]:
        assert answer[row].speech_T.shape == (FRAME,) and answer[row].speech_T.dtype == np.float32
        assert np.isfinite(answer[row].speech_T).all()
    assert dialogue.latency_samples == 2 * FRAME, "one frame, and one of acoustic delay: 160 ms"


@torch.no_grad()
def test_a_conversation_is_codec_and_stepper_joined_by_the_rule_of_the_first_frame(folder: Path) -> None:
    """Written out by hand: the first frame goes nowhere, the second meets a codec at its beginning."""
    checkpoint = Checkpoint.open(folder)
    mimi, moshi = load_mimi(checkpoint), load_moshi(checkpoint)
    text = load_tokenizer(checkpoint)
    said = text.open()
    stepper, codec, frames = Stepper(moshi, 1), mimi.open(1), _user(2, 8)
    state = stepper.open()
    stepper.push(state, torch.zeros(1, 8, dtype=torch.long))
    expected = []
    for frame_T in frames[1:]:
        codes_BKF = mimi.encode(codec, torch.from_numpy(frame_T)[None])
        tokens_BR = stepper.push(state, codes_BKF[:, :, 0]).tokens_BR
        speech_BT = mimi.decode(codec, tokens_BR[:, 1:, None])
        expected.append(Spoken(text.push(said, int(tokens_BR[0, 0])), speech_BT[0].numpy()))

    dialogue = Dialogue.load(folder)
    row = dialogue.open(sampling=Sampling.greedy())
    answers = [dialogue.step({row: frame_T}).get(row) for frame_T in frames]
    assert answers[0] is None
    for actual, wanted in zip(answers[1:], expected, strict=True):
        _assert_same(actual, wanted)


def test_streams_that_start_rest_and_end_on_their_own_are_single_streams(
    folder: Path, dialogue: Dialogue
) -> None:
    """Three seeds on three rows, out of step; one ends and its row is taken by a fourth."""
    users = {seed: _user(seed) for seed in (11, 12, 13, 14)}
    rows = {dialogue.open(seed=seed): seed for seed in (11, 12, 13)}
    given: dict[int, list[Spoken | None]] = {seed: [] for seed in users}
    for turn in range(1, 60):
        if turn == 25:
            ended = next(row for row, seed in rows.items() if seed == 12)
            dialogue.close(ended)
            del rows[ended]
            assert dialogue.open(seed=14) == ended
            rows[ended] = 14
        named = [row for row, seed in rows.items() if (turn + row) % 3 and len(given[seed]) < 30]
        answer = dialogue.step({row: users[rows[row]][len(given[rows[row]])] for row in named})
        assert set(answer) <= set(named)
        for row in named:
            given[rows[row]].append(answer.get(row))
    assert len(given[12]) < 30 <= len(given[11])
    for seed, answers in given.items():
        for actual, expected in zip(answers, _alone(folder, seed, users[seed]), strict=False):
            _assert_same(actual, expected)


def test_a_seed_repeats_a_stream_and_another_does_not(folder: Path) -> None:
    first, again, other = (_alone(folder, seed, _user(5)) for seed in (7, 7, 8))
    for actual, expected in zip(again, first, strict=True):
        _assert_same(actual, expected)
    assert any(
        a is not None and b is not None and not np.array_equal(a.speech_T, b.speech_T)
        for a, b in zip(first, other, strict=True)
    )


def test_every_row_taken_is_said_and_a_closed_one_is_free(dialogue: Dialogue) -> None:
    rows = [dialogue.open() for _ in range(3)]
    assert sorted(rows) == [0, 1, 2] and dialogue.num_free == 0
    with pytest.raises(NoFreeStream, match="all 3 streams"):
        dialogue.open()
    dialogue.close(1)
    assert dialogue.num_free == 1 and dialogue.open() == 1


WRONG_FRAMES = {
    "short": np.zeros(FRAME - 1, np.float32),
    "two dimensions": np.zeros((1, FRAME), np.float32),
    "nan": np.full(FRAME, np.nan, np.float32),
    "infinite": np.full(FRAME, np.inf, np.float32),
}


@pytest.mark.parametrize("wrong_T", WRONG_FRAMES.values(), ids=WRONG_FRAMES)
def test_a_frame_that_does_not_fit_is_refused_and_moves_no_row(
    folder: Path, dialogue: Dialogue, wrong_T: NDArray[np.float32]
) -> None:
    """The right frames that came with it must not have been taken: the caller sends them again."""
    users = {seed: _user(seed, 6) for seed in (1, 2)}
    first, second = dialogue.open(seed=1), dialogue.open(seed=2)
    dialogue.step({first: users[1][0], second: users[2][0]})
    with pytest.raises(FrameError, match="1920 finite samples"):
        dialogue.step({first: users[1][1], second: wrong_T})
    for seed, row in ((1, first), (2, second)):
        expected = _alone(folder, seed, users[seed])
        for n in range(1, 6):
            _assert_same(dialogue.step({row: users[seed][n]}).get(row), expected[n])


def test_a_row_that_is_not_open_is_refused(dialogue: Dialogue) -> None:
    with pytest.raises(UnknownStream, match="row 2"):
        dialogue.step({2: np.zeros(FRAME, np.float32)})
    with pytest.raises(UnknownStream):
        dialogue.close(0)
    assert dialogue.step({}) == {}


def test_what_was_answered_does_not_change_with_the_next_step(dialogue: Dialogue) -> None:
    """On CUDA the next replay overwrites the graph's outputs; an answer must be a copy."""
    row = dialogue.open(seed=1)
    frames = _user(1, 4)
    dialogue.step({row: frames[0]})
    answer = dialogue.step({row: frames[1]})[row]
    kept = answer.speech_T.copy()
    dialogue.step({row: frames[2]})
    assert np.array_equal(answer.speech_T, kept)


def test_a_model_without_rows_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Dialogue.load(folder, num_streams=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_recorded_step_says_what_an_eager_one_says(folder: Path) -> None:
    """CUDA graphs against the same functions run eagerly, past the first graph's slots."""
    recorded, eager = (Dialogue.load(folder, num_streams=2, device="cuda") for _ in range(2))
    eager._frame = eager._run_frame  # type: ignore[assignment]
    rows = [dialogue.open(sampling=Sampling.greedy()) for dialogue in (recorded, eager)]
    for frame_T in _user(3, 300):
        _assert_same(
            recorded.step({rows[0]: frame_T}).get(rows[0]), eager.step({rows[1]: frame_T}).get(rows[1])
        )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_every_precision_speaks(folder: Path, precision: Any) -> None:
    """Rounded weights choose other tokens, but finite ones, at the same times."""
    dialogue = Dialogue.load(folder, precision=precision)
    row = dialogue.open(seed=1)
    answers = [dialogue.step({row: frame_T}).get(row) for frame_T in _user(1, 6)]
    assert [answer is None for answer in answers] == [True] + [False] * 5
    assert all(np.isfinite(answer.speech_T).all() for answer in answers if answer is not None)
