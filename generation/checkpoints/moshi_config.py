"""config.json of a language model, both ways: published fields to `MoshiConfig`, and back.

Every field is understood, or refused by its name. Fields that only matter in training, and those that the
published code reads and never uses, change nothing.
Source: kyutai-labs/moshi@e6a55d2, models/loaders.py and the arguments of models/lm.py, with its defaults.
"""

import math
from typing import Any

from generation.checkpoints.fields import Fields
from generation.errors import CheckpointError
from generation.moshi import DepthConfig, MoshiConfig
from generation.moshi.config import TEXT_END_OF_PADDING, TEXT_PADDING
from generation.streaming import TransformerConfig
from generation.streaming.norm import EPSILON

WITHOUT_EFFECT = (
    "depformer_causal",  # it always is
    "depformer_context",  # the codebooks of a frame
    "depformer_max_period",  # it has no positions
    "gradient_checkpointing",
    "betas",
)


def parse_moshi(fields: Fields) -> MoshiConfig:
    """Take every field of the language model. Raises CheckpointError; other fields are left."""
    _refuse_what_is_not_built(fields)
    hidden_scale, layer_scale = fields.take("hidden_scale", float, 4.0), fields.optional("layer_scale", float)
    temporal = _temporal(fields, hidden_scale, layer_scale is not None)
    depth = _depth(fields, temporal, hidden_scale)
    try:
        config = MoshiConfig(
            temporal=temporal,
            depth=depth,
            text_vocabulary=fields.take("text_card", int, 32_000),
            text_outputs=fields.optional("text_card_out", int),
            audio_vocabulary=fields.take("card", int),
            num_audio=fields.take("n_q", int),
            num_spoken=fields.take("dep_q", int),
            delays=fields.whole_numbers("delays") or (),
            num_extra_heads=fields.take("extra_heads_num_heads", int, 0),
            extra_head_outputs=fields.take("extra_heads_dim", int, 6),
        )
    except ValueError as exc:
        raise CheckpointError(f"{fields.where} describes no model that can be built: {exc}") from exc
    check_sizes(config.depth_transformer, f"{fields.where}, depth transformer,")
    return config


def _refuse_what_is_not_built(fields: Fields) -> None:
    fields.ignore(*WITHOUT_EFFECT)
    fields.only("causal", True, default=True)
    fields.only("cross_attention", False, None, default=False)
    fields.only("norm_emb", False, default=False)
    fields.only("bias_proj", False, default=False)
    for name in ("demux_second_stream", "demux_second_text_stream"):  # renamed; older files say the first
        fields.only(name, False, None, default=False)
    fields.only("existing_text_padding_id", TEXT_PADDING, default=TEXT_PADDING)
    fields.only("existing_text_end_padding_id", TEXT_END_OF_PADDING, default=TEXT_END_OF_PADDING)
    fields.only("depformer_pos_emb", "none")
    fields.only("depformer_weights_per_step", True)


def _temporal(fields: Fields, hidden_scale: float, layer_scale: bool) -> TransformerConfig:
    dim = fields.take("dim", int)
    max_period, interleaved = parse_positions(fields)
    config = TransformerConfig(
        dim=dim,
        num_layers=fields.take("num_layers", int),
        num_heads=fields.take("num_heads", int),
        feed_forward=int(hidden_scale * dim),
        context=fields.take("context", int),
        norm=_norm(fields, "norm"),
        gated=parse_gating(fields, "gating", "none"),
        kv_repeat=fields.take("kv_repeat", int, 1),
        max_period=max_period,
        interleaved=interleaved,
        layer_scale=layer_scale,
    )
    check_sizes(config, fields.where)
    return config


def parse_positions(fields: Fields) -> tuple[float | None, bool]:
    """The rotary embedding's longest period, None without one, and whether its pairs are neighbours."""
    kind = fields.take("positional_embedding", str)
    max_period = fields.take("max_period", float, 10_000.0)
    if kind not in ("rope", "rope_concat", "none"):
        raise CheckpointError(
            f"{fields.where} asks for the positional embedding {kind!r}; rope, rope_concat and none are built"
        )
    return (None if kind == "none" else max_period), kind != "rope_concat"


def parse_gating(fields: Fields, name: str, default: str) -> bool:
    """Whether feed-forward layers are gated."""
    kind = fields.take(name, str, default)
    if kind not in ("silu", "none"):
        raise CheckpointError(f"{fields.where} asks for {name} {kind!r}; silu and none are built")
    return kind == "silu"


def check_sizes(config: TransformerConfig, where: str) -> None:
    """Raises CheckpointError unless all are positive, and width, heads and groups of heads divide."""
    sizes = (config.dim, config.num_layers, config.num_heads, config.hidden, config.context, config.kv_repeat)
    if min(sizes) < 1 or config.dim % config.num_heads or config.num_heads % config.kv_repeat:
        raise CheckpointError(
            f"{where} asks for {config.num_layers} layers, {config.num_heads} heads in groups of"
            f" {config.kv_repeat}, a width of {config.dim} and a context of {config.context}: they must be"
            " positive and divide"
        )


def _norm(fields: Fields, name: str) -> str:
    norm = fields.take(name, str)
    if norm not in EPSILON:
        raise CheckpointError(f"{fields.where} asks for {name} {norm!r}; {', '.join(EPSILON)} are built")
    return norm


def _depth(fields: Fields, temporal: TransformerConfig, hidden_scale: float) -> DepthConfig:
    """What a depth transformer's field does not say, the temporal one's says."""
    if not parse_gating(fields, "depformer_gating", "silu" if temporal.gated else "none"):
        raise CheckpointError(f"{fields.where} asks for a depth transformer without gating; silu is built")
    layer_scale = temporal.layer_scale
    if "depformer_layer_scale" in fields:
        layer_scale = fields.optional("depformer_layer_scale", float) is not None
    if layer_scale:
        raise CheckpointError(f"{fields.where} asks for a layer scale in the depth transformer: not built")
    dim = fields.take("depformer_dim", int)
    return DepthConfig(
        dim=dim,
        num_layers=fields.take("depformer_num_layers", int, temporal.num_layers),
        num_heads=fields.take("depformer_num_heads", int),
        feed_forward=_depth_feed_forward(fields, int(hidden_scale * dim)),
        norm=temporal.norm,
        kv_repeat=fields.take("depformer_kv_repeat", int, temporal.kv_repeat),
        schedule=fields.whole_numbers("depformer_weights_per_step_schedule"),
        low_rank=fields.optional("depformer_low_rank_embeddings", int),
        own_projection=fields.take("depformer_multi_linear", bool, False),
        output_norm=_norm(fields, "depformer_norm") if fields.peek("depformer_norm") else None,
    )


def _depth_feed_forward(fields: Fields, default: int) -> int:
    """One number, or a list with one for each set of weights, which must be equal here."""
    if not isinstance(fields.peek("depformer_dim_feedforward"), list):
        return fields.optional("depformer_dim_feedforward", int) or default
    widths = set(fields.whole_numbers("depformer_dim_feedforward") or ())
    if len(widths) != 1:
        raise CheckpointError(f"{fields.where} asks for depth layers of different widths: {sorted(widths)}")
    return widths.pop()


def published_moshi(config: MoshiConfig) -> dict[str, Any]:
    """The fields that `parse_moshi` reads as this configuration."""
    temporal, depth = config.temporal, config.depth
    fields: dict[str, Any] = {
        "dim": temporal.dim,
        "text_card": config.text_vocabulary,
        "existing_text_padding_id": TEXT_PADDING,
        "n_q": config.num_audio,
        "dep_q": config.num_spoken,
        "card": config.audio_vocabulary,
        "num_heads": temporal.num_heads,
        "num_layers": temporal.num_layers,
        "hidden_scale": _hidden_scale(temporal),
        "causal": True,
        "layer_scale": 0.01 if temporal.layer_scale else None,
        "context": temporal.context,
        "max_period": temporal.max_period or 10_000,
        "gating": "silu" if temporal.gated else "none",
        "norm": temporal.norm,
        "positional_embedding": positions_name(temporal),
        "kv_repeat": temporal.kv_repeat,
        "depformer_dim": depth.dim,
        "depformer_dim_feedforward": depth.feed_forward,
        "depformer_num_heads": depth.num_heads,
        "depformer_num_layers": depth.num_layers,
        "depformer_layer_scale": None,
        "depformer_multi_linear": depth.own_projection,
        "depformer_kv_repeat": depth.kv_repeat,
        "depformer_gating": "silu",
        "depformer_pos_emb": "none",
        "depformer_weights_per_step": True,
        "delays": list(config.delays),
        "extra_heads_num_heads": config.num_extra_heads,
        "extra_heads_dim": config.extra_head_outputs,
    }
    optional = {
        "text_card_out": config.text_outputs,
        "depformer_weights_per_step_schedule": list(depth.schedule) if depth.schedule else None,
        "depformer_low_rank_embeddings": depth.low_rank,
        "depformer_norm": depth.output_norm,
    }
    return fields | {name: value for name, value in optional.items() if value is not None}


def positions_name(config: TransformerConfig) -> str:
    """What `parse_positions` reads."""
    if config.max_period is None:
        return "none"
    return "rope" if config.interleaved else "rope_concat"


def _hidden_scale(config: TransformerConfig) -> float:
    """The factor that is read as exactly this width: reading cuts off, hence a hair more where needed."""
    scale = config.feed_forward / config.dim
    return scale if int(scale * config.dim) == config.feed_forward else math.nextafter(scale, math.inf)
