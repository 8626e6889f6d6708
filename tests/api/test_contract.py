"""The served API against its own document, with a key and without: Schemathesis, every check, stateful.

One check is left out, `positive_data_acceptance`: a document cannot say that bytes must decode, or that a URL
must lead to a file. The number of examples is small and the seed fixed here, so that a commit is judged by
what it changed; EARMARK_CONTRACT_EXAMPLES and _SEED ask for more. The server has a voice, and a log with a
full tile: what is asked for is there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import Server, serving
from tests.api.test_export import begin
from tests.generation.tiny import write_tiny_voice

ROOT = Path(__file__).parents[2]
NUM_EXAMPLES = int(os.environ.get("EARMARK_CONTRACT_EXAMPLES", "10"))
SEED = os.environ.get("EARMARK_CONTRACT_SEED", "1")


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    voice = write_tiny_voice(tmp_path_factory.mktemp("voice") / "tiny")
    with serving(voice=str(voice)) as server:
        begin(server.service.registry, "contract", 256)  # an entry each: a full tile
        server.mark("eltocino")  # so that the hooks' recording is attributed to a generation
        yield server


def schemathesis(server: Server, folder: Path, phases: str, num_examples: int, *, with_key: bool) -> dict:
    """The report of a run that found nothing; `folder` also has every request and answer (run.ndjson)."""
    url = str(server.client.base_url).rstrip("/")
    program = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"]
    program += ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--no-color"]
    program += ["--phases", phases, "--max-examples", str(num_examples), "--seed", SEED]
    program += ["--continue-on-failure", "--report", "json,ndjson"]
    program += [
        "--report-json-path",
        str(folder / "run.json"),
        "--report-ndjson-path",
        str(folder / "run.ndjson"),
    ]
    if with_key:
        program += ["-H", f"Authorization: {server.client.headers['Authorization']}"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.api.contract_hooks", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr
    report: dict = json.loads((folder / "run.json").read_text())
    assert report["complete"] and report["failures"] == report["errors"] == []
    ran = {name: phase["status"] for name, phase in report["phases"].items() if name in phases.split(",")}
    assert ran == dict.fromkeys(phases.split(","), "success")
    return report


def test_the_service_is_what_its_document_says(speaking: Server, tmp_path: Path) -> None:
    """Its first run found a 500: PostgreSQL refuses time offsets beyond 16 hours."""
    report = schemathesis(speaking, tmp_path, "examples,coverage,fuzzing", NUM_EXAMPLES, with_key=True)
    assert report["warnings"]["missing_test_data"] == report["warnings"]["missing_auth"] == []
    accepted = {
        name: sum(phase["accepted"] for phase in phases.values())
        for name, phases in report["valid_rates"].items()
    }
    assert report["operations"]["tested"] == report["operations"]["total"] == len(accepted) >= 14
    assert all(accepted.values()), accepted


def test_so_it_is_for_callers_without_a_key(speaking: Server, tmp_path: Path) -> None:
    report = schemathesis(
        speaking, tmp_path, "examples,coverage,fuzzing,stateful", NUM_EXAMPLES, with_key=False
    )
    assert report["operations"]["tested"] == report["operations"]["total"]
    assert "POST /v1/detections -> [200] check -> POST /v1/detections/check" in followed(tmp_path)


def test_every_link_of_the_document_leads_to_an_answer(speaking: Server, tmp_path: Path) -> None:
    """Its first run found that the proof of streamed speech was 503 until somebody spoke again."""
    schemathesis(speaking, tmp_path, "stateful", 2 * NUM_EXAMPLES, with_key=True)
    links = set(declared(speaking.anonymous.get("/openapi.json").json()))
    assert len(links) >= 11
    assert followed(tmp_path) >= links


def declared(document: dict) -> Iterator[str]:
    """Each link by the name that Schemathesis gives it."""
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    names = {operation["operationId"]: name for name, operation in operations}
    for name, operation in operations:
        for status, response in operation["responses"].items():
            for link, where in response.get("links", {}).items():
                yield f"{name} -> [{status}] {link} -> {names[where['operationId']]}"


def followed(folder: Path) -> set[str]:
    """The links that were gone along with what an answer had said, and were answered with 200."""
    links = set()
    for line in (folder / "run.ndjson").read_text().splitlines():
        ended = json.loads(line).get("ScenarioFinished", {})
        recorder = ended.get("recorder", {})
        for name, case in recorder.get("cases", {}).items():
            answer = recorder["interactions"].get(name, {}).get("response") or {}
            if case.get("transition") and case["is_transition_applied"] and answer.get("status_code") == 200:
                links.add(case["transition"]["id"])
    return links
