"""The machine that decides what is said: every word, in order, and an end."""

import pytest
import torch

from generation.forcing import MOST_PADDING, Phase, WordForcing

PAD, EPAD = 3, 0


def _logits(end_of_padding: float) -> torch.Tensor:
    logits_BV = torch.full((1, 12), 50.0)  # of any word: none of them may be chosen
    logits_BV[0, PAD], logits_BV[0, EPAD] = 0.0, end_of_padding
    return logits_BV


def _said(forcing: WordForcing, odds: float, num_steps: int) -> list[int]:
    steps = (forcing.constrain(_logits(odds)) for _ in range(num_steps))
    tokens = []
    for only_BV in steps:
        assert int(torch.isfinite(only_BV).sum()) == 1
        tokens.append(int(only_BV.argmax()))
    return tokens


def test_a_model_in_a_hurry_says_the_words_without_a_pause() -> None:
    """Written by hand: EPAD, the tokens of a word, EPAD, …, EPAD at the end, then padding."""
    forcing = WordForcing([[7, 8], [9]], temperature=0.0)
    assert _said(forcing, 5.0, 8) == [EPAD, 7, 8, EPAD, 9, EPAD, PAD, PAD]
    assert forcing.phase is Phase.ENDED


def test_a_model_that_never_goes_on_is_made_to() -> None:
    """A sentence must end, and no word may be skipped, however bad the model."""
    forcing = WordForcing([[7], [9]], temperature=0.0)
    tokens = _said(forcing, -5.0, 3 * (MOST_PADDING + 2))
    assert [token for token in tokens if token != PAD] == [EPAD, 7, EPAD, 9, EPAD]
    assert tokens.index(EPAD) == MOST_PADDING
    assert forcing.phase is Phase.ENDED and forcing.num_words_left == 0


def test_even_odds_wait_as_long_as_chance_says_and_a_seed_repeats_it() -> None:
    """200 words at even odds: waits are geometric with mean 1; their mean is within 0.4 of it but for one
    run in 10^4 (standard deviation sqrt(2 / 200) = 0.1)."""
    runs = [_said(WordForcing([[7]] * 200, seed=seed), 0.0, 600) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    waits = runs[0].count(PAD) / runs[0].count(EPAD)
    assert abs(waits - 1.0) < 0.4


@pytest.mark.parametrize("words", [[], [[7], []]])
def test_nothing_to_say_is_refused(words: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="words"):
        WordForcing(words)
