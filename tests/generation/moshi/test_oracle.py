"""The language model against the published package, on the same random weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from generation.checkpoints.names import MOSHI_RENAMES
from generation.moshi import Guidance, Moshi, MoshiConfig, Sampling, Stepper
from tests.generation import oracle
from tests.generation.moshi.small import CONFIG, user_codes

SMALL: dict[str, Any] = {
    "dim": 32,
    "num_heads": 4,
    "num_layers": 2,
    "hidden_scale": 4.125,
    "context": 30,
    "text_card": 60,
    "card": 40,
    "depformer_dim": 16,
    "depformer_num_heads": 2,
    "depformer_num_layers": 2,
    "depformer_dim_feedforward": 66,
}
SCHEDULE = (0, 1, 2, 2, 2, 3, 3, 3)
VARIANTS: dict[str, tuple[dict[str, Any], MoshiConfig]] = {
    "moshi": ({}, CONFIG),
    "schedule, low rank and norms of the depth": (
        {
            "depformer_weights_per_step_schedule": list(SCHEDULE),
            "depformer_low_rank_embeddings": 6,
            "depformer_norm": "layer_norm",
        },
        replace(CONFIG, depth=replace(CONFIG.depth, schedule=SCHEDULE, low_rank=6, output_norm="layer_norm")),
    ),
    "grouped keys, halves, layer norm": (
        {"kv_repeat": 2, "positional_embedding": "rope_concat", "norm": "layer_norm_f32"},
        replace(
            CONFIG,
            temporal=replace(CONFIG.temporal, kv_repeat=2, interleaved=False, norm="layer_norm_f32"),
            depth=replace(CONFIG.depth, kv_repeat=2, norm="layer_norm_f32"),
        ),
    ),
}


@pytest.fixture(scope="module", params=VARIANTS)
def models(request: pytest.FixtureRequest) -> tuple[Any, Moshi]:
    loaders, lm = oracle.models()
    changed, config = VARIANTS[request.param]
    theirs = lm.LMModel(**{**loaders._lm_kwargs, **SMALL, **changed}).eval()
    oracle.randomize(theirs, 0.25, seed=31)
    ours = Moshi(config)
    oracle.copy_weights(theirs, ours, MOSHI_RENAMES)
    return theirs, ours.prepare()


def _generate(theirs: Any, **options: Any) -> Any:
    _, lm = oracle.models()
    return lm.LMGen(theirs, use_sampling=False, **options)


@torch.no_grad()
def test_greedy_tokens_are_equal_for_200_steps(models: tuple[Any, Moshi]) -> None:
    """Six times the context, two rows; every token depends on all tokens before it."""
    theirs, ours = models
    heard = user_codes(2, 200)
    generate, stepper = _generate(theirs), Stepper(ours, 2)
    state = stepper.open()
    seen = set()
    with generate.streaming(2):
        for n in range(200):
            expected = generate.step(heard[:, n, :, None])
            answer = stepper.push(state, heard[:, n])
            assert answer.ready_B.all() == (expected is not None)
            if expected is not None:
                assert torch.equal(answer.tokens_BR, expected[:, :, 0]), f"step {n}"
                seen |= set(answer.tokens_BR.flatten().tolist())
    assert len(seen) > 20, "a model that repeats one token would pass whatever it does"


@torch.no_grad()
def test_logits_are_within_a_ten_thousandth(models: tuple[Any, Moshi]) -> None:
    theirs, ours = models
    torch.manual_seed(32)
    tokens_BRF = torch.randint(0, 40, (2, 17, 40))
    expected = theirs(tokens_BRF)
    text_BFV, audio_BKFV = ours(tokens_BRF)
    torch.testing.assert_close(text_BFV, expected.text_logits[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(audio_BKFV[expected.mask], expected.logits[expected.mask], atol=1e-4, rtol=0)
    assert torch.equal(audio_BKFV.isnan().all(dim=-1), ~expected.mask)


@torch.no_grad()
def test_rows_out_of_step_are_the_packages(models: tuple[Any, Moshi]) -> None:
    """Its execution mask, its reset of one row, its marks for rows that have nothing to say."""
    theirs, ours = models
    heard = user_codes(3, 60)
    torch.manual_seed(33)
    live_FB = torch.rand(60, 3) > 0.3
    generate, stepper = _generate(theirs, support_out_of_sync=True), Stepper(ours, 3)
    state = stepper.open()
    with generate.streaming(3):
        for n in range(60):
            if n == 40:
                rows_B = torch.tensor([False, True, False])
                generate.reset_streaming(rows_B)
                stepper.begin_row(state, 1, Sampling.greedy(), None)
            generate.set_exec_mask(live_FB[n])
            expected = generate.step(heard[:, n, :, None])
            answer = stepper.push(state, heard[:, n], live_FB[n])
            assert torch.equal(answer.tokens_BR, expected[:, :, 0]), f"step {n}"


@pytest.mark.parametrize(
    ("guidance", "options"),
    [
        (Guidance(2.0, masked_frames=5), lambda: {"cfg_coef": 2.0, "cfg_is_masked_until": [5, 5]}),
        (Guidance(1.5, without_text=True), lambda: {"cfg_coef": 1.5, "cfg_is_no_text": True}),
        (
            Guidance(3.0, masked_frames=2, without_text=True),
            lambda: {"cfg_coef": 3.0, "cfg_is_masked_until": [2, 2], "cfg_is_no_text": True},
        ),
    ],
)
@torch.no_grad()
def test_guidance_gives_the_packages_tokens(
    models: tuple[Any, Moshi], guidance: Guidance, options: Callable[[], dict[str, Any]]
) -> None:
    theirs, ours = models
    heard = user_codes(2, 40)
    generate, stepper = _generate(theirs, **options()), Stepper(ours, 2, guidance=guidance)
    state = stepper.open()
    with generate.streaming(2):
        for n in range(40):
            expected = generate.step(heard[:, n, :, None])
            answer = stepper.push(state, heard[:, n])
            if expected is not None:
                assert torch.equal(answer.tokens_BR, expected[:, :, 0]), f"step {n}"
