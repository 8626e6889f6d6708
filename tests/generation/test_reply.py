"""A reply is what the stream says, on the recording's clock."""

import numpy as np
import pytest

from generation import Dialogue, FrameError, NoFreeStream, num_frames, reply
from tests.generation.tiny import write_tiny_checkpoint

FRAME = 1920


@pytest.fixture(scope="module")
def dialogue(tmp_path_factory: pytest.TempPathFactory) -> Dialogue:
    return Dialogue.load(write_tiny_checkpoint(tmp_path_factory.mktemp("reply")))


def test_a_reply_is_the_stream_after_silence_for_the_warm_up(dialogue: Dialogue) -> None:
    user_T = np.random.default_rng(1).normal(0, 0.1, 10 * FRAME).astype(np.float32)
    said = list(reply(dialogue, user_T, seed=3))
    row = dialogue.open(seed=3)
    frames = [dialogue.step({row: user_T[n * FRAME :][:FRAME]}).get(row) for n in range(10)]
    dialogue.close(row)
    assert len(said) == num_frames(dialogue, len(user_T)) == 10
    for spoken, expected in zip(said, frames, strict=True):
        if expected is None:
            assert (spoken.text, float(np.abs(spoken.speech_T).max())) == ("", 0.0)
        else:
            assert spoken.text == expected.text
            np.testing.assert_array_equal(spoken.speech_T, expected.speech_T)
    assert any(np.abs(spoken.speech_T).max() > 0 for spoken in said)


def test_the_last_frame_is_filled_up_and_silence_is_listened_to(dialogue: Dialogue) -> None:
    user_T = np.full(FRAME + 1, 0.1, np.float32)
    assert len(list(reply(dialogue, user_T))) == 2
    assert len(list(reply(dialogue, user_T, after_s=1.0))) == 14  # 1.08 s and a sample, in frames of 80 ms
    assert list(reply(dialogue, user_T[:0])) == []
    padded_T = np.pad(user_T, (0, 12 * FRAME))
    filled, padded = (
        list(reply(dialogue, user_T, seed=4, after_s=0.9)),
        list(reply(dialogue, padded_T, seed=4)),
    )
    for left, right in zip(filled, padded, strict=False):
        np.testing.assert_array_equal(left.speech_T, right.speech_T)


def test_the_row_is_free_again_however_it_ended(dialogue: Dialogue) -> None:
    user_T = np.full(4 * FRAME, 0.1, np.float32)
    held = reply(dialogue, user_T)
    next(held)
    with pytest.raises(NoFreeStream):
        next(reply(dialogue, user_T))
    held.close()
    with pytest.raises(FrameError):
        list(reply(dialogue, np.full(FRAME, np.nan, np.float32)))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="after_s"):
            next(reply(dialogue, user_T, after_s=wrong))
    assert len(list(reply(dialogue, user_T))) == 4
