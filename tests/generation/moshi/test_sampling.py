"""Choosing a token: the law it follows, and where its randomness comes from."""

import pytest
import torch
from scipy.stats import chisquare

from generation.moshi import Sampling, SeededNoise
from generation.moshi.sampling import Choice, Noise, choose

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def _choices(temperature: float, top_k: int, num: int, seed: int = 1) -> torch.Tensor:
    noise_BV = torch.empty(num, len(LOGITS)).exponential_(generator=torch.Generator().manual_seed(seed))
    choice = Choice(torch.full((num,), temperature), torch.full((num,), top_k))
    return choose(LOGITS.expand(num, -1), noise_BV, choice)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 6), (0.7, 6), (1.5, 3)])
def test_tokens_follow_the_softmax_of_the_most_likely(temperature: float, top_k: int) -> None:
    """Chi-square over 20,000 draws from a fixed seed; a right sampler fails one seed in 10,000."""
    counts = _choices(temperature, top_k, 20_000).bincount(minlength=len(LOGITS))
    assert counts[top_k:].sum() == 0
    expected = torch.softmax(LOGITS[:top_k].double() / temperature, 0) * 20_000
    assert chisquare(counts[:top_k].numpy(), expected.numpy()).pvalue > 1e-4


def test_temperature_zero_takes_the_most_likely_whatever_the_noise() -> None:
    assert _choices(0.0, 6, 100).eq(0).all()


def test_each_row_has_its_own_temperature_and_k() -> None:
    noise_BV = torch.full((2, 6), 1.0)
    noise_BV[:, 2] = 1e-9  # the third token is drawn wherever it is allowed
    choice = Choice(torch.tensor([1.0, 1.0]), torch.tensor([3, 2]))
    assert choose(LOGITS.expand(2, -1), noise_BV, choice).tolist() == [2, 0]


def test_a_seed_repeats_a_streams_noise_and_no_other() -> None:
    def noise(seed: int) -> Noise:
        filled = Noise.empty(1, 6, 2, 4, torch.device("cpu"))
        source = SeededNoise(seed, torch.device("cpu"))
        source.fill(filled.text_BV[0], filled.audio_BKV[0])
        source.fill(filled.text_BV[0], filled.audio_BKV[0])
        return filled

    assert torch.equal(noise(3).text_BV, noise(3).text_BV)
    assert torch.equal(noise(3).audio_BKV, noise(3).audio_BKV)
    assert not torch.equal(noise(3).audio_BKV, noise(4).audio_BKV)
    assert noise(3).text_BV.gt(0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"text_temperature": 11.0},
        {"top_k": 0},
        {"text_top_k": 251},
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]
