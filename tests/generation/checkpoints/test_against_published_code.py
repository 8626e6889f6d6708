"""Checkpoints that the published code wrote give its numbers when ours reads them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from generation.checkpoints import Checkpoint, load_conditions, load_mimi, load_moshi, usual_conditions
from generation.moshi import Moshi, Sampling, Stepper
from tests.generation.checkpoints import oracle

lm_package = pytest.importorskip("moshi.models.lm", reason="the moshi package is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the package, not ours

VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "schedule": {"depformer_weights_per_step_schedule": [0, 1, 2, 2, 3, 3, 3, 3]},
    "low_rank": {"depformer_low_rank_embeddings": 4, "depformer_norm": "layer_norm_f32"},
    "grouped_queries": {"kv_repeat": 2, "depformer_kv_repeat": 1},
    "rope_concat": {"positional_embedding": "rope_concat", "max_period": 100.0},
    "layer_norm": {"norm": "layer_norm", "layer_scale": 0.3, "depformer_layer_scale": None},
    "layer_norm_f32": {"norm": "layer_norm_f32", "depformer_norm": "layer_norm"},
    "rms_norm": {"norm": "rms_norm", "positional_embedding": "none", "depformer_multi_linear": False},
    "not_gated": {"gating": "none", "hidden_scale": 4, "depformer_dim_feedforward": 64},
    "heads": {"text_card_out": 5, "extra_heads_num_heads": 2, "extra_heads_dim": 3},
    "heard_only": {"n_q": 12, "delays": [0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 2]},
}
NUM_FRAMES = 20  # beyond the context of 12


@pytest.fixture(params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Moshi]:
    """The package's model and ours, from the same files."""
    fields = oracle.LM | VARIANTS[request.param]
    theirs = oracle.new_lm(fields)
    oracle.write(tmp_path, fields, theirs, oracle.new_mimi())
    return theirs, load_moshi(Checkpoint.open(tmp_path))


def test_greedy_tokens_are_those_of_the_published_code(pair: tuple[Any, Moshi]) -> None:
    """A key under the wrong name, or a field read as another size, changes the first frame already."""
    theirs, ours = pair
    torch.manual_seed(1)
    heard_FBK = torch.randint(0, ours.config.audio_vocabulary, (NUM_FRAMES, 1, ours.config.num_heard))
    stepper = Stepper(ours, 1)
    state = stepper.open()
    stepper.begin_row(state, 0, Sampling.greedy(), None)
    answers = [stepper.push(state, heard_BK) for heard_BK in heard_FBK]
    generator = lm_package.LMGen(theirs, use_sampling=False)
    with torch.no_grad(), generator.streaming(1):
        expected = [generator.step(heard_BK[..., None]) for heard_BK in heard_FBK]
    assert len([step for step in expected if step is not None]) > NUM_FRAMES - 4
    for step, frame in zip(answers, expected, strict=True):
        assert bool(step.ready_B) == (frame is not None)
        assert frame is None or step.tokens_BR.tolist() == frame[..., 0].tolist()


def test_logits_are_those_of_the_published_code(pair: tuple[Any, Moshi]) -> None:
    """Equal tokens could hide a small error of a norm or a rotation."""
    theirs, ours = pair
    torch.manual_seed(2)
    codes_BRF = torch.randint(0, 5, (2, ours.config.num_rows, 16))
    with torch.no_grad():
        expected = theirs(codes_BRF)
        text_BFV, audio_BKFV = ours(codes_BRF)
    torch.testing.assert_close(text_BFV, expected.text_logits[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(audio_BKFV, expected.logits, atol=1e-4, rtol=0, equal_nan=True)


def test_codes_are_those_of_the_published_codec(tmp_path: Path) -> None:
    """Codec and language model meet in these numbers."""
    theirs = oracle.new_mimi()
    oracle.write(tmp_path, oracle.LM, oracle.new_lm(oracle.LM), theirs)
    ours = load_mimi(Checkpoint.open(tmp_path))
    wav_BT = torch.randn(2, 1920 * 8) / 4
    codes_BKF, heard_BT = ours.run(wav_BT)
    with torch.no_grad():
        expected_BKF = theirs.encode(wav_BT[:, None])
        expected_BCT = theirs.decode(expected_BKF)
    assert codes_BKF.tolist() == expected_BKF.tolist()
    torch.testing.assert_close(heard_BT, expected_BCT[:, 0], atol=1e-5, rtol=0)


def test_conditions_are_those_of_the_published_code(tmp_path: Path) -> None:
    """Hibiki is told that its speech is good; the sum enters every step."""
    from moshi.run_inference import get_condition_tensors

    fields = oracle.LM | {
        "model_type": "hibiki",
        "lm_gen_config": {"cfg_coef": 3.0},
        "conditioners": {
            "description": {
                "type": "lut",
                "lut": {
                    "n_bins": 5,
                    "dim": 6,
                    "tokenizer": "noop",
                    "possible_values": ["very_bad", "very_good"],
                },
            }
        },
        "fuser": {"sum": ["description"], "cross_attention_pos_emb": False, "prepend": [], "cross": []},
    }
    package_fields = {k: v for k, v in fields.items() if k not in ("model_type", "lm_gen_config")}
    theirs = oracle.new_lm(package_fields)
    checkpoint = Checkpoint.open(oracle.write(tmp_path, fields, theirs, oracle.new_mimi()))
    conditions = load_conditions(checkpoint)
    assert conditions is not None
    tensors = get_condition_tensors("hibiki", theirs, batch_size=2, cfg_coef=3.0)
    expected_BFE = theirs.fuser.get_sum(tensors)
    torch.testing.assert_close(usual_conditions(checkpoint, conditions, 2), expected_BFE)
    padding = theirs.condition_provider.conditioners["description"].learnt_padding
    torch.testing.assert_close(conditions([{}]), padding.data)
    moshi = load_moshi(checkpoint)
    assert moshi.text_emb.weight[2].equal(theirs.text_emb.weight[3])
