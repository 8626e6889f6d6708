"""config.json: every field understood, or refused by its name."""

from dataclasses import replace
from typing import Any

import pytest

from generation.checkpoints.fields import Fields
from generation.checkpoints.mimi_config import parse_mimi, published_mimi
from generation.checkpoints.moshi_config import parse_moshi, published_moshi
from generation.errors import CheckpointError
from generation.mimi import MimiConfig
from generation.moshi import DepthConfig, MoshiConfig
from generation.streaming import TransformerConfig
from generation.train.codec.config import MINI
from tests.generation.tiny import TINY_MIMI, TINY_MOSHI

# configs/moshi_7b_202409.json of kyutai-labs/moshi, word for word.
PUBLISHED: dict[str, Any] = {
    "dim": 4096,
    "text_card": 32000,
    "existing_text_padding_id": 3,
    "n_q": 16,
    "dep_q": 8,
    "card": 2048,
    "num_heads": 32,
    "num_layers": 32,
    "hidden_scale": 4.125,
    "causal": True,
    "layer_scale": None,
    "context": 3000,
    "max_period": 10000,
    "gating": "silu",
    "norm": "rms_norm_f32",
    "positional_embedding": "rope",
    "depformer_dim": 1024,
    "depformer_dim_feedforward": 4224,
    "depformer_num_heads": 16,
    "depformer_num_layers": 6,
    "depformer_causal": True,
    "depformer_layer_scale": None,
    "depformer_multi_linear": True,
    "depformer_context": 8,
    "depformer_max_period": 10000,
    "depformer_gating": "silu",
    "depformer_pos_emb": "none",
    "depformer_weights_per_step": True,
    "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
}


def parsed(**changes: Any) -> MoshiConfig:
    fields = Fields(PUBLISHED | changes, "config.json")
    config = parse_moshi(fields)
    fields.finish()
    return config


def test_the_published_configuration_is_our_default() -> None:
    """Checkpoints without config.json rely on it."""
    assert parsed() == MoshiConfig()


@pytest.mark.parametrize(
    "config",
    [
        MoshiConfig(),
        TINY_MOSHI,
        replace(TINY_MOSHI, text_outputs=5, num_extra_heads=2, extra_head_outputs=3),
        replace(
            TINY_MOSHI,
            temporal=TransformerConfig(
                dim=48,
                num_layers=1,
                num_heads=4,
                feed_forward=131,  # 131 / 48 * 48 is 130.99… in floating point
                context=7,
                norm="layer_norm",
                gated=False,
                kv_repeat=2,
                max_period=100.0,
                interleaved=False,
                layer_scale=True,
            ),
            depth=DepthConfig(
                dim=16,
                num_layers=1,
                num_heads=2,
                feed_forward=66,
                norm="layer_norm",
                schedule=(0, 1, 2, 2, 3, 3, 3, 3),
                low_rank=4,
                own_projection=False,
                output_norm="rms_norm",
            ),
        ),
        replace(TINY_MOSHI, temporal=replace(TINY_MOSHI.temporal, max_period=None)),
    ],
)
def test_what_is_written_is_read_back(config: MoshiConfig) -> None:
    """Training writes what serving reads."""
    fields = Fields(published_moshi(config), "config.json")
    assert parse_moshi(fields) == config
    fields.finish()


def test_what_the_depth_transformer_does_not_say_the_temporal_one_says() -> None:
    """As in the published code, whose arguments are passed on."""
    fields = Fields({k: v for k, v in PUBLISHED.items() if k != "depformer_num_layers"}, "config.json")
    fields.ignore("depformer_dim_feedforward")
    assert parse_moshi(fields).depth == replace(DepthConfig(), num_layers=32, feed_forward=4224)
    assert parsed(kv_repeat=2).depth.kv_repeat == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"causal": False}, "causal = false"),
        ({"cross_attention": True}, "cross_attention = true"),
        ({"norm_emb": True}, "norm_emb"),
        ({"bias_proj": True}, "bias_proj"),
        ({"demux_second_stream": True}, "demux_second_stream = true"),
        ({"demux_second_text_stream": True}, "demux_second_text_stream = true"),
        ({"existing_text_padding_id": 4}, "existing_text_padding_id = 4"),
        ({"depformer_pos_emb": "sin"}, 'depformer_pos_emb = "sin"'),
        ({"depformer_weights_per_step": False}, "depformer_weights_per_step"),
        ({"positional_embedding": "sin_rope"}, "'sin_rope'"),
        ({"gating": "gelu"}, "'gelu'"),
        ({"depformer_gating": "none"}, "without gating"),
        ({"norm": "batch_norm"}, "'batch_norm'"),
        ({"depformer_norm": "batch_norm"}, "'batch_norm'"),
        ({"depformer_layer_scale": 0.1}, "layer scale"),
        ({"layer_scale": 0.1, "depformer_layer_scale": 0.1}, "layer scale"),
        ({"depformer_dim_feedforward": [4224, 4000]}, "different widths"),
        ({"depformer_weights_per_step_schedule": [0, 1]}, "the schedule names 2"),
        ({"delays": [0, 1]}, "17 rows"),
        ({"dep_q": 0}, "0 of 16"),
        ({"num_heads": 3}, "3 heads"),
        ({"depformer_num_heads": 3}, "depth transformer, asks for 6 layers, 3 heads"),
        ({"context": 0}, "a context of 0"),
        ({"num_layers": -1}, "-1 layers"),
        ({"kv_repeat": 0}, "groups of 0"),
        ({"dim": "4096"}, 'dim = "4096"'),
        ({"dim": True}, "dim = true"),
        ({"n_q": 16.5}, "n_q = 16.5"),
        ({"delays": "none"}, "a list"),
        ({"num_experts": 8, "router": "top"}, "num_experts, router"),
    ],
)
def test_what_is_not_built_is_refused_by_its_name(changes: dict[str, Any], said: str) -> None:
    """A field that is passed over would give a model that speaks, and wrongly."""
    with pytest.raises(CheckpointError) as caught:
        parsed(**changes)
    assert said in str(caught.value) and "config.json" in str(caught.value)


@pytest.mark.parametrize("name", ["dim", "n_q", "dep_q", "card", "context", "norm", "depformer_pos_emb"])
def test_a_field_without_a_sound_default_must_be_there(name: str) -> None:
    """The published code's defaults for these are those of no published model."""
    with pytest.raises(CheckpointError, match=f"does not say '{name}'"):
        parse_moshi(Fields({k: v for k, v in PUBLISHED.items() if k != name}, "config.json"))


@pytest.mark.parametrize(
    "config",
    [MimiConfig(), TINY_MIMI, replace(TINY_MIMI, num_semantic=2, kernel=5), MINI],
)
def test_a_codec_that_is_written_is_read_back(config: MimiConfig) -> None:
    """A codec of another size comes with its own file."""
    assert parse_mimi(Fields(published_mimi(config), "mimi.json")) == config


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        (None, {"sample_rate": 48000}, "sample_rate = 48000"),
        (None, {"channels": 2}, "channels = 2"),
        (None, {"frame_rate": 13.0}, "13 frames"),
        (None, {"frame_rate": 25.0}, "25 frames"),
        (None, {"resample": "avg"}, "resample"),
        ("seanet", {"causal": False}, "causal = false"),
        ("seanet", {"norm": "time_group_norm"}, "norm"),
        ("seanet", {"pad_mode": "reflect"}, "pad_mode"),
        ("seanet", {"activation": "ReLU"}, "activation"),
        ("seanet", {"true_skip": False}, "true_skip"),
        ("quantizer", {"input_dimension": 8}, "input_dimension = 8"),
        (None, {"vocoder": {"spectrum_window": 1024, "filter_bins": 257}}, "two ratios"),
        ("transformer", {"d_model": 32}, "d_model = 32"),
        ("transformer", {"positional_embedding": "sin"}, "'sin'"),
        ("transformer", {"gating": "relu"}, "'relu'"),
        ("transformer", {"quantize": True}, "quantize"),
    ],
)
def test_what_the_codec_does_not_have_is_refused(
    part: str | None, changes: dict[str, Any], said: str
) -> None:
    """By the name of the field, too."""
    values = published_mimi(TINY_MIMI)
    (values if part is None else values[part]).update(changes)
    with pytest.raises(CheckpointError) as caught:
        parse_mimi(Fields(values, "mimi.json"))
    assert said in str(caught.value)
