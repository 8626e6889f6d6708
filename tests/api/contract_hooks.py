"""What Schemathesis sends where the document says audio: real recordings, cut, and noise.

Loaded by `schemathesis run` (SCHEMATHESIS_HOOKS=tests.api.contract_hooks); see test_contract.py."""

from pathlib import Path

import schemathesis
from hypothesis import strategies as st

_FILE = (Path(__file__).parents[1] / "assets" / "eltocino.flac").read_bytes()

_audio = st.just(_FILE) | st.integers(0, len(_FILE)).map(lambda length: _FILE[:length]) | st.binary()

schemathesis.openapi.media_type("audio/*", _audio)
