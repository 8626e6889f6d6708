"""The codec at its published size against the published package, on the same random weights."""

from typing import Any

import pytest
import torch

from generation.checkpoints.names import MIMI_RENAMES
from generation.mimi import Mimi, MimiConfig
from generation.streaming import reset_rows
from tests.generation import oracle

NUM_FRAMES = 375  # 30 s: the 250 steps of attention turn over three times
FRAME = 1920


@pytest.fixture(scope="module")
def codecs() -> tuple[Any, Mimi]:
    loaders, _ = oracle.models()
    theirs = loaders.get_mimi(None, num_codebooks=8)
    oracle.randomize(theirs, 0.0, seed=21)
    ours = Mimi(MimiConfig())
    oracle.copy_weights(theirs, ours, MIMI_RENAMES)
    return theirs, ours.prepare()


@pytest.mark.slow
@torch.no_grad()
def test_codes_are_equal_and_speech_is_within_a_ten_thousandth_over_30_s(codecs: tuple[Any, Mimi]) -> None:
    """Frame by frame, as the products use it. Past 10 s a codec that sees one step more would differ."""
    theirs, ours = codecs
    torch.manual_seed(22)
    wav_BT = torch.randn(1, NUM_FRAMES * FRAME) * 0.1
    state = ours.open(1)
    num_different, worst, loudest = 0, 0.0, 0.0
    with theirs.streaming(1):
        for frame_BT in wav_BT.split(FRAME, dim=1):
            codes = theirs.encode(frame_BT[:, None])
            num_different += int((ours.encode(state, frame_BT) != codes).sum())
            speech_BT = theirs.decode(codes)[:, 0]
            worst = max(worst, float((ours.decode(state, codes) - speech_BT).abs().max()))
            loudest = max(loudest, float(speech_BT.abs().max()))
    assert num_different == 0
    assert worst < 1e-4 < loudest / 100


@torch.no_grad()
def test_rows_start_and_rest_as_in_the_package(codecs: tuple[Any, Mimi]) -> None:
    """Execution mask and reset of one row, both ways of the codec, at batch 2."""
    theirs, ours = codecs
    torch.manual_seed(23)
    live = [(True, True), (True, False), (True, True), (False, True), (True, True), (True, True)]
    state = ours.open(2)
    with theirs.streaming(2):
        for index, mask in enumerate(live):
            if index == 4:
                rows_B = torch.tensor([False, True])
                theirs.reset_streaming(rows_B)
                reset_rows(state, rows_B)
            live_B, wav_BT = torch.tensor(mask), torch.randn(2, FRAME) * 0.1
            theirs.set_exec_mask(live_B)
            codes = theirs.encode(wav_BT[:, None])
            assert torch.equal(ours.encode(state, wav_BT, live_B)[live_B], codes[live_B])
            speech_BT = theirs.decode(codes)[:, 0]
            torch.testing.assert_close(
                ours.decode(state, codes, live_B)[live_B], speech_BT[live_B], atol=1e-5, rtol=0
            )


@torch.no_grad()
def test_a_whole_signal_shorter_than_the_context_gives_the_packages_codes(codecs: tuple[Any, Mimi]) -> None:
    """The package's run without a stream; a last frame that is not full is filled with silence by both."""
    theirs, ours = codecs
    torch.manual_seed(24)
    wav_BT = torch.randn(1, 12 * FRAME + 700) * 0.1
    codes = theirs.encode(wav_BT[:, None])
    ours_codes, speech_BT = ours.run(wav_BT)
    assert torch.equal(ours_codes, codes) and codes.shape == (1, 8, 13)
    expected = theirs.decode(codes)[:, 0, : wav_BT.shape[1]]
    torch.testing.assert_close(speech_BT, expected, atol=1e-5, rtol=0)
