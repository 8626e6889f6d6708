"""False-alarm probabilities that a weights file states, against scores that they were not fitted on."""

import numpy as np
import pytest

from watermark.audioseal.null import Null, fit


@pytest.mark.parametrize("shape", ["normal", "exponential", "logistic"])
def test_no_more_negatives_fall_under_p_than_p(shape: str) -> None:
    """Fitted to 500 scores, 40 times, each time checked on 100,000 others: on the whole the claim is kept,
    and no fit is off by a factor of three."""
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        null = fit(getattr(rng, shape)(size=500))
        others = getattr(rng, shape)(size=100_000)
        shares.append([np.mean(others >= null.threshold(p)) / p for p in (0.05, 0.01, 1e-3)])
    assert np.mean(shares, axis=0).max() <= 1.1
    assert np.max(shares) < 3.0


def test_below_the_border_the_share_is_the_measured_one() -> None:
    rng = np.random.default_rng(1)
    null = fit(rng.normal(size=2000))
    said = np.array([null.false_alarm_probability(score) for score in rng.normal(size=2000)])
    for p in (0.5, 0.2, 0.1):
        assert np.mean(said <= p) <= 1.2 * p


def test_probabilities_fall_with_the_score_and_stay_within_their_range() -> None:
    null = fit(np.random.default_rng(1).normal(size=300))
    probabilities = [null.false_alarm_probability(score) for score in np.linspace(-10, 50, 500)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] == 1.0
    assert probabilities[-1] == 1e-6


def test_a_hand_made_null_says_what_was_computed_by_hand() -> None:
    """Border 0, spread 0.5: at 1 the tail is 0.05 * e**-2; a score that two of 20 levels pass is 0.15."""
    null = Null(100, tuple(-0.1 * i for i in range(19)), 0.5)
    assert null.false_alarm_probability(1.0) == pytest.approx(0.05 * np.exp(-2))
    assert null.false_alarm_probability(-0.15) == pytest.approx(0.15)
    assert null.threshold(1e-3) == pytest.approx(0.5 * np.log(50))
    assert null.threshold(1e-7) == np.inf


def test_too_few_negatives_are_refused() -> None:
    with pytest.raises(ValueError, match="99 pieces of 5 s are too few"):
        fit(np.zeros(99))
