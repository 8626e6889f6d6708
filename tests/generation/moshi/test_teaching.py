"""Training must teach the network that speaks: the side-by-side form against the one generation uses."""

from dataclasses import replace

import pytest
import torch

from generation.moshi import Moshi, MoshiConfig
from generation.moshi.teaching import delayed, hear, speak
from tests.generation.moshi.small import CONFIG, small_moshi

B, F = 2, 9
SHARED = replace(CONFIG, depth=replace(CONFIG.depth, schedule=(0, 1, 2, 3, 3, 3, 3, 3)))


def _tokens(config: MoshiConfig) -> torch.Tensor:
    torch.manual_seed(3)
    tokens_BRF = torch.randint(0, config.audio_vocabulary, (B, config.num_rows, F))
    tokens_BRF[:, 0] = torch.randint(0, config.text_vocabulary, (B, F))
    return tokens_BRF


def _taught(model: Moshi, tokens_BRF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Text logits [B, F, V] and audio logits [B, K, F, V], at the step that says them."""
    inputs_BRF, spoken_BRF = delayed(model.config, tokens_BRF)
    z_BFE, text_BFV = hear(model, inputs_BRF)
    logits_KNV = speak(model, z_BFE.flatten(0, 1), spoken_BRF.transpose(1, 2).flatten(0, 1))
    return text_BFV, logits_KNV.view(len(logits_KNV), B, F, -1).transpose(0, 1)


@pytest.mark.parametrize("config", [CONFIG, SHARED], ids=["own weights", "shared weights"])
def test_all_codebooks_at_once_are_each_codebook_in_turn(config: MoshiConfig) -> None:
    model, tokens_BRF = small_moshi(config=config), _tokens(config)
    text_BFV, audio_BKFV = _taught(model, tokens_BRF)
    expected_text_BFV, expected_BKFV = model(tokens_BRF)
    torch.testing.assert_close(text_BFV, expected_text_BFV, atol=1e-5, rtol=1e-5)
    for k, delay in enumerate(config.delays[1 : 1 + config.num_spoken]):
        said_BFV = audio_BKFV[:, k, delay:]
        torch.testing.assert_close(said_BFV, expected_BKFV[:, k, : F - delay], atol=1e-5, rtol=1e-5)


def test_gradients_are_the_same() -> None:
    """Equal logits from detached weights would train nothing."""
    gradients = []
    for taught in (True, False):
        model = small_moshi().requires_grad_(True)
        tokens_BRF = _tokens(CONFIG)
        _, audio_BKFV = _taught(model, tokens_BRF) if taught else model(tokens_BRF)
        delays = CONFIG.delays[1 : 1 + CONFIG.num_spoken]
        said = [audio_BKFV[:, k, d:] if taught else audio_BKFV[:, k, : F - d] for k, d in enumerate(delays)]
        torch.autograd.backward(torch.stack([(one * one.detach().sign()).sum() for one in said]).sum())
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert gradients[0]["linears.7.weight"] is not None
    for name, gradient in gradients[0].items():
        expected = gradients[1][name]
        if gradient is None or expected is None:
            assert gradient is expected, name
        else:
            torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-3, msg=name)
