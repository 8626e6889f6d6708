"""The query parameters of `/api/chat` that are heeded; all others are passed over.

The names are those of the published web client: text_temperature, text_topk, audio_temperature, audio_topk,
text_seed, audio_seed. One is our own: `provenance`, since that client would take a message that it does not
know for its server's settings. No client needs to send any. Not here: pad_mult, repetition_penalty,
max_steps."""

import math
from collections.abc import Mapping

from api.chat.errors import ParameterRefused
from api.chat.session import Wishes
from generation import Sampling
from generation.moshi.sampling import LARGEST_TOP_K

MAX_TEMPERATURE = 2.0
MAX_TOP_K = 2048
"""As many as there are audio codes. What is above the model's LARGEST_TOP_K is taken as that, because the
web client's slider goes further."""

MAX_SEED = 2**31 - 1


def wishes_of(query: Mapping[str, str]) -> Wishes:
    """What a client asks for. Raises ParameterRefused, which names the parameter and its range."""
    ours = Sampling()
    sampling = Sampling(
        temperature=_number(query, "audio_temperature", ours.temperature),
        top_k=_top_k(query, "audio_topk", ours.top_k),
        text_temperature=_number(query, "text_temperature", ours.text_temperature),
        text_top_k=_top_k(query, "text_topk", ours.text_top_k),
    )
    provenance = _choice(query, "provenance")
    if "text_seed" not in query and "audio_seed" not in query:
        return Wishes(sampling, provenance=provenance)
    seeds = [_count(query, name, 0, 0, MAX_SEED) for name in ("text_seed", "audio_seed")]
    return Wishes(sampling, seeds[0] << 31 | seeds[1], provenance)


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        number = float(query.get(name, default))
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_TEMPERATURE:
        raise ParameterRefused(f"{name} must be a number from 0 to {MAX_TEMPERATURE:g}")
    return number


def _top_k(query: Mapping[str, str], name: str, default: int) -> int:
    return min(_count(query, name, default, 1, MAX_TOP_K), LARGEST_TOP_K)


def _choice(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise ParameterRefused(f"{name} must be true or false")
    return text == "true"


def _count(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    # Python refuses to read numbers of thousands of digits, with an error of its own.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else -1
    if not least <= number <= most:
        raise ParameterRefused(f"{name} must be a whole number from {least} to {most}")
    return number
