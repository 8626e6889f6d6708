"""Speak live in processes that kill themselves, one at each step: `python -m tests.api.kill_stream FOLDER`.

The database is in EARMARK_DATABASE_URL. What was released, float32 at 24 kHz, is appended to FOLDER/STEP as
soon as `push` returns it, as a server would send it. Prints how each process ended. Not a test itself;
`test_marked_stream.py` runs it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.service import Service
from api.settings import Settings
from audio import decode
from registry import Recording, Registry
from registry.log import TransparencyLog
from tests.api.conftest import recording
from tests.api.kill_marking import die, run_each
from watermark import Embedder

FRAME_SAMPLES = 1920
NTH = 45
"""The push that is interrupted, 3.6 s in: windows of three writes are there."""

STEPS: dict[str, tuple[type, str, int, str] | None] = {
    "after begin": (Registry, "begin", 1, "after"),
    "after the log": (TransparencyLog, "wait", 1, "after"),
    "after mark": (Embedder, "push", NTH, "after"),
    "after fingerprints": (Recording, "push", NTH, "after"),
    "before a write": (Recording, "_write", 3, "before"),
    "after a write": (Recording, "_write", 3, "after"),
    "before finish": (Recording, "finish", 1, "before"),
    "after finish": (Recording, "finish", 1, "after"),
    "after release": None,
}


def deadly(call: Callable[..., Any], nth: int, when: str) -> Callable[..., Any]:
    """The same call, with the process killed before or after the n-th of them."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            die()
        result = call(*args, **kwargs)
        if calls == nth:
            die()
        return result

    return wrapped


def speak_until(step: str, folder: Path) -> None:
    service = Service.open(Settings(data_dir=folder))
    target = STEPS[step]
    if target is not None:
        owner, name, nth, when = target
        setattr(owner, name, deadly(getattr(owner, name), nth, when))
    wav_T = decode(recording("amelia")).wav_T
    with (folder / step).open("ab", buffering=0) as released:
        stream = service.open_stream(step)
        for at in range(0, len(wav_T), FRAME_SAMPLES):
            released.write(stream.push(wav_T[at : at + FRAME_SAMPLES]).tobytes())
        released.write(stream.finish().tobytes())
    die()


if __name__ == "__main__":
    run_each(STEPS, speak_until, Path(sys.argv[1]))
