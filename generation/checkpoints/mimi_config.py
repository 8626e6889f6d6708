"""The codec's configuration, both ways: the published JSON to `MimiConfig`, and back.

The published checkpoints name no such file: `MimiConfig()` is theirs. A codec of another size comes with one,
in the form of `_mimi_config`: sample rate, frame rate, and the arguments of three parts; and of a fourth,
`vocoder`, which is ours (mimi/vocoder.py).
Source: kyutai-labs/moshi@e6a55d2, models/loaders.py.
"""

from dataclasses import replace
from math import prod
from typing import Any

from audio import SAMPLE_RATE_HZ
from generation.checkpoints.fields import Fields
from generation.checkpoints.moshi_config import check_sizes, parse_gating, parse_positions, positions_name
from generation.errors import CheckpointError
from generation.mimi import MimiConfig
from generation.mimi.features import LEAST_WINDOW
from generation.streaming import TransformerConfig


def parse_mimi(fields: Fields) -> MimiConfig:
    """Every field understood or refused. Raises CheckpointError."""
    fields.only("sample_rate", SAMPLE_RATE_HZ)
    fields.only("channels", 1, default=1)
    frame_rate_hz = fields.take("frame_rate", float)
    seanet, quantizer = fields.inner("seanet"), fields.inner("quantizer")
    ratios, dim = seanet.whole_numbers("ratios") or (), seanet.take("dimension", int)
    stride = SAMPLE_RATE_HZ / (prod(ratios) * frame_rate_hz) if ratios and frame_rate_hz > 0 else 0.0
    if stride != int(stride) or stride < 2:
        raise CheckpointError(
            f"{fields.where} asks for {frame_rate_hz:g} frames a second over ratios {list(ratios)}; they must"
            f" leave a whole factor of at least 2 to {SAMPLE_RATE_HZ} Hz"
        )
    for name in ("input_dimension", "output_dimension"):
        quantizer.only(name, dim)
    config = MimiConfig(
        ratios=ratios,
        num_filters=seanet.take("n_filters", int),
        latent_dim=dim,
        num_residual_layers=seanet.take("n_residual_layers", int),
        compress=seanet.take("compress", int, 2),
        dilation_base=seanet.take("dilation_base", int, 2),
        kernel=seanet.take("kernel_size", int, 7),
        residual_kernel=seanet.take("residual_kernel_size", int, 3),
        last_kernel=seanet.take("last_kernel_size", int, 7),
        resample_stride=int(stride),
        transformer=_transformer(fields.inner("transformer"), dim, int(stride)),
        num_codebooks=quantizer.take("n_q", int),
        num_semantic=quantizer.take("n_q_semantic", int, 1),
        codebook_size=quantizer.take("bins", int),
        codebook_dim=quantizer.take("dimension", int),
    )
    if "vocoder" in fields:
        config = _with_vocoder(config, fields.inner("vocoder"))
    _refuse_what_is_not_built(seanet)
    for part in (seanet, quantizer, fields):
        part.finish()
    return config


def _with_vocoder(config: MimiConfig, vocoder: Fields) -> MimiConfig:
    if len(config.ratios) != 2:
        raise CheckpointError(f"{vocoder.where} needs two ratios, not {list(config.ratios)}")
    window, bins = vocoder.take("spectrum_window", int), vocoder.take("filter_bins", int)
    least = max(LEAST_WINDOW, config.ratios[1])
    if window < least or bins < 2 or config.latent_dim % config.ratios[0]:
        raise CheckpointError(
            f"{vocoder.where} asks for a window of {window} samples, {bins} bins and {config.ratios[0]} hops"
            f" in a latent of {config.latent_dim}; it takes at least {least} and 2, and as much for each hop"
        )
    vocoder.finish()
    return replace(config, vocoder=True, spectrum_window=window, filter_bins=bins)


def _refuse_what_is_not_built(seanet: Fields) -> None:
    seanet.only("channels", 1, default=1)
    seanet.only("causal", True)
    seanet.only("activation", "ELU", default="ELU")
    seanet.only("pad_mode", "constant")
    seanet.only("true_skip", True, default=True)
    seanet.only("norm", "none", "weight_norm", default="none")  # a weight norm is multiplied out on loading
    seanet.ignore("disable_norm_outer_blocks")


def _transformer(fields: Fields, dim: int, frame_steps: int) -> TransformerConfig:
    fields.only("d_model", dim)
    fields.only("input_dimension", dim)
    fields.only("output_dimensions", [dim])
    fields.only("causal", True)
    fields.only("conv_layout", True, default=True)
    max_period, interleaved = parse_positions(fields)
    config = TransformerConfig(
        dim=dim,
        num_layers=fields.take("num_layers", int),
        num_heads=fields.take("num_heads", int),
        feed_forward=fields.take("dim_feedforward", int),
        context=fields.take("context", int),
        norm=fields.take("norm", str),
        gated=parse_gating(fields, "gating", "none"),
        kv_repeat=fields.take("kv_repeat", int, 1),
        max_period=max_period,
        interleaved=interleaved,
        layer_scale=fields.optional("layer_scale", float) is not None,
        frame_steps=frame_steps,
    )
    check_sizes(config, fields.where)
    fields.finish()
    return config


def published_mimi(config: MimiConfig) -> dict[str, Any]:
    """The JSON that `parse_mimi` reads as this configuration, which has a transformer."""
    transformer, dim = config.transformer, config.latent_dim
    if transformer is None:
        raise ValueError("a codec without transformers has no published form")
    return {
        "sample_rate": config.sample_rate_hz,
        "channels": 1,
        "frame_rate": config.frame_rate_hz,
        "seanet": {
            "channels": 1,
            "dimension": dim,
            "causal": True,
            "n_filters": config.num_filters,
            "n_residual_layers": config.num_residual_layers,
            "activation": "ELU",
            "compress": config.compress,
            "dilation_base": config.dilation_base,
            "disable_norm_outer_blocks": 0,
            "kernel_size": config.kernel,
            "residual_kernel_size": config.residual_kernel,
            "last_kernel_size": config.last_kernel,
            "norm": "none",
            "pad_mode": "constant",
            "ratios": list(config.ratios),
            "true_skip": True,
        },
        "quantizer": {
            "dimension": config.codebook_dim,
            "n_q": config.num_codebooks,
            "n_q_semantic": config.num_semantic,
            "bins": config.codebook_size,
            "input_dimension": dim,
            "output_dimension": dim,
        },
        "transformer": {
            "d_model": dim,
            "num_heads": transformer.num_heads,
            "num_layers": transformer.num_layers,
            "causal": True,
            "layer_scale": 0.01 if transformer.layer_scale else None,
            "context": transformer.context,
            "conv_layout": True,
            "max_period": transformer.max_period or 10_000,
            "gating": "silu" if transformer.gated else "none",
            "norm": transformer.norm,
            "positional_embedding": positions_name(transformer),
            "dim_feedforward": transformer.feed_forward,
            "kv_repeat": transformer.kv_repeat,
            "input_dimension": dim,
            "output_dimensions": [dim],
        },
        **({"vocoder": _published_vocoder(config)} if config.vocoder else {}),
    }


def _published_vocoder(config: MimiConfig) -> dict[str, int]:
    return {"spectrum_window": config.spectrum_window, "filter_bins": config.filter_bins}
