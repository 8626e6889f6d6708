"""A published model as its files and what its config.json says. Nothing here reads weights.

    checkpoint = Checkpoint.open("kyutai/moshiko-pytorch-bf16")      # or a folder, or owner/name@revision
    moshi = load_moshi(checkpoint, device, dtype)                    # loading.py

Without config.json it is the published 7B model under its published file names, as in the first releases.
Source: kyutai-labs/moshi@e6a55d2, models/loaders.py, CheckpointInfo.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from generation.checkpoints.conditions import parse_conditions
from generation.checkpoints.fields import Fields
from generation.checkpoints.mimi_config import parse_mimi
from generation.checkpoints.moshi_config import parse_moshi
from generation.checkpoints.source import Source, fetch, place
from generation.errors import CheckpointError
from generation.mimi import MimiConfig
from generation.moshi import Guidance, MoshiConfig, Sampling
from generation.moshi.conditions import ConditionConfig

CONFIG_NAME = "config.json"
MOSHI_NAME = "model.safetensors"
MOSHI_INT8_NAME = "model.q8.safetensors"
MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER_NAME = "tokenizer_spm_32k_3.model"
MODEL_TYPES = ("moshi", "hibiki", "stt", "tts")


@dataclass(frozen=True)
class Lora:
    """A low-rank change of the weights: `W + scaling B A`."""

    path: Path
    rank: int
    scaling: float


@dataclass(frozen=True)
class Checkpoint:
    """One model: which files, which sizes, which way of generating it was published with."""

    label: str  # the folder's name, or owner/name@commit
    moshi_path: Path
    mimi_path: Path
    tokenizer_path: Path
    moshi: MoshiConfig = field(default_factory=MoshiConfig)
    mimi: MimiConfig = field(default_factory=MimiConfig)
    num_codebooks: int = 8  # of the codec's, that this model hears or speaks
    model_type: str = "moshi"
    sampling: Sampling = field(default_factory=Sampling)
    guidance: Guidance | None = None
    int8: bool = False  # the file's linear maps have int8 weights
    lora: Lora | None = None
    conditions: Mapping[str, ConditionConfig] = field(default_factory=dict)
    pronunciations_path: Path | None = None  # of words that are said by their phones

    @classmethod
    def open(cls, model: str | Path) -> Self:
        """Find a model's files, downloading them if need be, and read its configuration.

        `model`: a local folder, `owner/name` or `owner/name@revision` on the hub. Raises CheckpointError.
        """
        source = place(model)
        config_path = source.find(CONFIG_NAME)
        if config_path is None:
            return cls._without_config(source)
        fields = Fields.read(config_path)
        checkpoint = cls._described(source, fields)
        fields.finish()
        return checkpoint

    @classmethod
    def _without_config(cls, source: Source) -> Self:
        int8 = source.find(MOSHI_NAME) is None and source.find(MOSHI_INT8_NAME) is not None
        return cls(
            moshi_path=fetch(source, MOSHI_INT8_NAME if int8 else MOSHI_NAME),
            mimi_path=fetch(source, MIMI_NAME),
            tokenizer_path=fetch(source, TOKENIZER_NAME),
            label=source.label,
            int8=int8,
        )

    @classmethod
    def _described(cls, source: Source, fields: Fields) -> Self:
        model_type = fields.take("model_type", str, "moshi")
        if model_type not in MODEL_TYPES:
            raise CheckpointError(
                f"{fields.where} says model_type {model_type!r}; known are {', '.join(MODEL_TYPES)}"
            )
        sampling, guidance = _generation(fields.inner("lm_gen_config"))
        moshi, mimi = parse_moshi(fields), _mimi(source, fields)
        num_codebooks = max(moshi.num_spoken, moshi.num_heard)
        several_speakers, pronunciations = _speaking(fields)
        if several_speakers:
            num_codebooks //= 2
        if num_codebooks > mimi.num_codebooks:
            raise CheckpointError(
                f"{fields.where} needs {num_codebooks} codebooks, its codec has {mimi.num_codebooks}"
            )
        if moshi.audio_vocabulary != mimi.codebook_size:
            raise CheckpointError(
                f"{fields.where} speaks {moshi.audio_vocabulary} audio tokens, its codec has"
                f" {mimi.codebook_size}"
            )
        int8 = fields.take("quantize", bool, False)
        return cls(
            moshi_path=fetch(source, fields.take("moshi_name", str, MOSHI_INT8_NAME if int8 else MOSHI_NAME)),
            mimi_path=fetch(source, fields.take("mimi_name", str, MIMI_NAME)),
            tokenizer_path=fetch(source, fields.take("tokenizer_name", str, TOKENIZER_NAME)),
            label=source.label,
            moshi=moshi,
            mimi=mimi,
            num_codebooks=num_codebooks,
            model_type=model_type,
            sampling=sampling,
            guidance=guidance,
            int8=int8,
            lora=_lora(source, fields, int8),
            conditions=parse_conditions(fields, moshi.temporal.dim),
            pronunciations_path=fetch(source, pronunciations) if pronunciations else None,
        )


def _mimi(source: Source, fields: Fields) -> MimiConfig:
    name = fields.optional("mimi_config_name", str)
    return MimiConfig() if name is None else parse_mimi(Fields.read(fetch(source, name)))


def _lora(source: Source, fields: Fields, int8: bool) -> Lora | None:
    wanted, name = fields.take("lora", bool, False), fields.optional("lora_name", str)
    rank, scaling = fields.take("lora_rank", int, 128), fields.take("lora_scaling", float, 2.0)
    if wanted != (name is not None):
        raise CheckpointError(f"{fields.where} must say both lora = true and lora_name, or neither")
    if name is None:
        return None
    if int8:
        raise CheckpointError(f"{fields.where} asks for LoRA on int8 weights, which is not built")
    return Lora(fetch(source, name), rank, scaling)


def _speaking(fields: Fields) -> tuple[bool, str | None]:
    """Drop what only the published STT and TTS programs read; say whether the codebooks are of two voices,
    and which file has pronunciations (ours alone)."""
    fields.inner("stt_config")
    fields.inner("model_id")
    tts = fields.inner("tts_config")
    return tts.take("multistream", bool, False), tts.optional("pronunciations_name", str)


def _generation(fields: Fields) -> tuple[Sampling, Guidance | None]:
    """The defaults of `lm_gen_config`."""
    fields.ignore("check", "support_out_of_sync")
    greedy = not fields.take("use_sampling", bool, True)
    usual = Sampling()
    try:
        sampling = Sampling(
            temperature=fields.take("temp", float, usual.temperature),
            top_k=fields.take("top_k", int, usual.top_k),
            text_temperature=fields.take("temp_text", float, usual.text_temperature),
            text_top_k=fields.take("top_k_text", int, usual.text_top_k),
        )
    except ValueError as exc:
        raise CheckpointError(f"{fields.where} cannot be followed: {exc}") from exc
    coefficient, without_text = (
        fields.take("cfg_coef", float, 1.0),
        fields.take("cfg_is_no_text", bool, False),
    )
    masked = set(fields.whole_numbers("cfg_is_masked_until") or ())
    fields.finish()
    if len(masked) > 1:
        raise CheckpointError(f"{fields.where} masks rows for different times, which is not built")
    guidance = Guidance(coefficient, masked.pop() if masked else None, without_text)
    return Sampling.greedy() if greedy else sampling, guidance if coefficient != 1.0 else None
