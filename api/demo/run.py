"""Run the demo: (1) start a server, (2) speak and mark, (3) alter, (4) ask, (5) show and judge.

Everything goes over REST, as a user's program would; nothing here looks into the server.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.demo.cases import (
    MARKED,
    NEVER_MARKED,
    SAID,
    SEED,
    TEXT,
    VICTIM,
    Case,
    Marked,
    Recording,
    build_cases,
    load_recording,
)
from api.demo.errors import DemoError
from api.demo.report import Row
from api.demo.server import running_server
from audio import decode
from generation import MINI_VOICE

ASSETS = Path(__file__).resolve().parents[2] / "tests" / "assets"
_MEDIA_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}


@dataclass(frozen=True)
class DemoResult:
    """All rows in order, and the name of each generation that was issued."""

    rows: list[Row]
    names: Mapping[str, str]


def run(out_dir: Path, report: Callable[[str], None], assets: Path = ASSETS) -> DemoResult:
    """Say a text, mark the recordings in `assets`, alter and verify all of it; write every file that was
    judged into `out_dir`.

    `report` is told what happens next. Raises DemoError when the recordings are missing or the server does
    not work; an unexpected verdict is a row of the result, not an exception. Takes about a minute.
    """
    recordings = [load_recording(assets, name) for name in MARKED]
    victim = load_recording(assets, VICTIM)
    never_marked = [load_recording(assets, name) for name in NEVER_MARKED]
    report("starting a server with an empty registry")
    with running_server({"EARMARK_VOICE": MINI_VOICE}) as client:  # (1)
        report("saying a text")
        said = _say(client)  # (2)
        report(f"marking {' and '.join(MARKED)}")
        marked = [(recording, _mark(client, recording)) for recording in recordings]
        cases = build_cases(said, marked, victim, never_marked)  # (3)
        _write_files(out_dir, cases)
        rows = []
        for number, case in enumerate(cases, 1):  # (4)
            report(f"asking about {case.file_name} ({number} of {len(cases)})")
            rows.append(_ask(client, case))
    issued = (said, *(one for _, one in marked))
    return DemoResult(rows, {one.generation_id: one.name for one in issued})


def _say(client: httpx.Client) -> Marked:
    wanted = json.dumps({"text": TEXT, "seed": SEED}).encode()
    return _issued(SAID, "wav", _post(client, "/v1/generations", SAID, wanted, "application/json"))


def _mark(client: httpx.Client, recording: Recording) -> Marked:
    response = _post(client, "/v1/marks", recording.name, recording.data, "audio/flac")
    return _issued(recording.name, "flac", response)


def _issued(name: str, form: str, response: httpx.Response) -> Marked:
    return Marked(
        name,
        form,
        response.content,
        decode(response.content).wav_T,
        generation_id=response.headers["Earmark-Generation-Id"],
        content_id=response.headers["Earmark-Content-Id"],
    )


def _ask(client: httpx.Client, case: Case) -> Row:
    started_s = time.perf_counter()
    media_type = _MEDIA_TYPES[Path(case.file_name).suffix]
    response = _post(client, "/v1/detections", case.file_name, case.data, media_type)
    latency_ms = 1000 * (time.perf_counter() - started_s)
    detection: dict[str, Any] = response.json()
    return Row(case, detection, latency_ms)


def _post(client: httpx.Client, path: str, name: str, data: bytes, media_type: str) -> httpx.Response:
    try:
        response = client.post(path, content=data, headers={"Content-Type": media_type})
    except httpx.TransportError as exc:
        raise DemoError(f"POST {path} with {name} got no answer: {exc!r}") from exc
    if not response.is_success:
        raise DemoError(f"POST {path} with {name} answered {response.status_code}: {response.text}")
    return response


def _write_files(out_dir: Path, cases: list[Case]) -> None:
    """Overwrites the files of an earlier run. A crash here leaves some of the files, which nothing reads."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for case in cases:
            (out_dir / case.file_name).write_bytes(case.data)
    except OSError as exc:
        raise DemoError(f"{out_dir} cannot be written: {exc.strerror}; name another folder with -o") from exc
