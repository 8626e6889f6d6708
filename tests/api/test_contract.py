"""The served API against its own document, with a key and without: Schemathesis, every check, stateful.

One check is left out, `positive_data_acceptance`: a document cannot say that bytes must decode, or that a URL
must lead to a file. `--max-examples` is small and the seed fixed here, so that a
commit is judged by what it changed; EARMARK_CONTRACT_EXAMPLES and _SEED ask for more."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Server

ROOT = Path(__file__).parents[2]
NUM_EXAMPLES = os.environ.get("EARMARK_CONTRACT_EXAMPLES", "10")
SEED = os.environ.get("EARMARK_CONTRACT_SEED", "1")


def schemathesis(
    url: str, *words: str, num_examples: int = NUM_EXAMPLES
) -> "subprocess.CompletedProcess[str]":
    program = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"]
    program += ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--no-color"]
    program += ["--max-examples", NUM_EXAMPLES, "--seed", SEED, "--continue-on-failure", *words]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.api.contract_hooks", "PYTHONPATH": str(ROOT)}
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("with_key", [True, False], ids=["with a key", "without"])
def test_the_service_is_what_its_document_says(server: Server, with_key: bool) -> None:
    """Its first run found a 500: PostgreSQL refuses time offsets beyond 16 hours."""
    client: httpx.Client = server.client if with_key else server.anonymous
    headers = ["-H", f"Authorization: {client.headers['Authorization']}"] if with_key else []
    url = str(client.base_url).rstrip("/")
    ended = schemathesis(url, *headers)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr
    assert "Stateful" in ended.stdout
