"""The conditions of a checkpoint: its `conditioners` and `fuser` fields, its `condition_provider` weights.

Source: kyutai-labs/moshi@e6a55d2, models/loaders.py and run_inference.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from generation.checkpoints.fields import Fields
from generation.errors import CheckpointError
from generation.moshi.conditions import ConditionConfig, Conditions

PREFIX = "condition_provider."  # of their keys in the language model's file


@dataclass(frozen=True)
class Usual:
    """What a published model is told when nobody says otherwise, and what its null streams are told."""

    given: Mapping[str, str] = field(default_factory=dict)
    null: Mapping[str, str] = field(default_factory=dict)


USUAL = {"hibiki": Usual({"description": "very_good"}, {"description": "very_bad"})}


def parse_conditions(fields: Fields, dim: int) -> dict[str, ConditionConfig]:
    """Take both fields. `dim`: of the language model. Raises CheckpointError."""
    conditioners, fuser = fields.inner("conditioners"), fields.inner("fuser")
    for way in ("cross", "prepend"):
        if names := fuser.texts(way):
            raise CheckpointError(f"{fuser.where} takes {', '.join(names)} by {way!r}; only 'sum' is built")
    summed = set(fuser.texts("sum"))
    fuser.ignore("cross_attention_pos_emb", "cross_attention_pos_emb_scale")
    fuser.finish()
    configs = {name: _condition(conditioners.inner(name), dim) for name in conditioners.names()}
    if summed != configs.keys():
        raise CheckpointError(
            f"{fields.where} must sum each of its conditions: it describes {sorted(configs)} and sums"
            f" {sorted(summed)}"
        )
    return configs


def _condition(fields: Fields, dim: int) -> ConditionConfig:
    kind = fields.take("type", str)
    if kind not in ("lut", "tensor"):
        raise CheckpointError(f"{fields.where} is of type {kind!r}; lut and tensor are built")
    inner = fields.inner(kind)
    fields.finish()
    num_values, values = None, None
    if kind == "lut":
        num_values = inner.take("n_bins", int)
        inner.only("tokenizer", "noop", default="noop")
        values = inner.texts("possible_values") or None
        inner.ignore("init_scale")
    inner.only("output_bias", False, default=False)
    inner.ignore("pad_empty")
    width = inner.take("dim", int)
    config = ConditionConfig(
        dim=width,
        num_values=num_values,
        values=values,
        learnt_default=inner.take("learn_padding", bool, True),
        projected=inner.take("force_linear", bool, True) or width != dim,
    )
    inner.finish()
    return config


def published_conditions(conditions: Conditions) -> dict[str, Any]:
    """The fields that `parse_conditions` reads as these."""
    names = list(conditions.configs)
    described = {name: _published(config) for name, config in conditions.configs.items()}
    return {"conditioners": described, "fuser": {"sum": names}}


def _published(config: ConditionConfig) -> dict[str, Any]:
    kind = "tensor" if config.num_values is None else "lut"
    inner: dict[str, Any] = {
        "dim": config.dim,
        "learn_padding": config.learnt_default,
        "force_linear": config.projected,
    }
    if config.num_values is not None:
        inner |= {"n_bins": config.num_values, "tokenizer": "noop"}
        inner |= {"possible_values": list(config.values)} if config.values else {}
    return {"type": kind, kind: inner}
