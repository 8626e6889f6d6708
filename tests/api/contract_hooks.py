"""What Schemathesis sends where a document cannot say what fits: recordings, cut, and noise; English; tiles
that the log has.

Loaded by `schemathesis run` (SCHEMATHESIS_HOOKS=tests.api.contract_hooks); see test_contract.py."""

from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

from api.routes.log import TILE_EXAMPLES
from audio import SAMPLE_RATE_HZ, decode, encode

_SPOKEN = Path(__file__).parents[1] / "assets" / "eltocino.flac"
_FILE = encode(decode(_SPOKEN).wav_T[: 3 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ, "flac")
_TEXTS = ("Hello.", "Yes.", "Good morning.")

_whole = st.just(_FILE)
_audio = _whole | _whole | st.integers(0, len(_FILE)).map(lambda length: _FILE[:length]) | st.binary()

schemathesis.openapi.media_type("audio/*", _audio)


@schemathesis.hook("map_case").apply_to(path="/v1/generations", method="POST")
def say_english(context: HookContext, case: Case) -> Case:
    """Any other text is refused, and nothing behind the refusal would be reached."""
    if is_meant_well(case) and isinstance(case.body, dict):
        text = _TEXTS[len(case.body["text"]) % len(_TEXTS)]
        case.body = {"text": text, "seed": case.body.get("seed")}
    return case


@schemathesis.hook("map_case").apply_to(path="/v1/log/tile/{path}", method="GET")
def ask_for_what_is_there(context: HookContext, case: Case) -> Case:
    if is_meant_well(case):
        path = case.path_parameters["path"]
        case.path_parameters["path"] = TILE_EXAMPLES[len(path) % len(TILE_EXAMPLES)]
    return case


def is_meant_well(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
