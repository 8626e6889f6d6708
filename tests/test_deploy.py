"""What ships around the program fits it: settings exist, files are copied, timeouts nest.

No container engine is needed; what one would find beyond this is named in docs/operations.md."""

import re
from pathlib import Path

import pytest
import yaml

from api.cli.main import build_parser
from api.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = (ROOT / "deploy" / "earmark.service").read_text()
STOP_TIMEOUT_S = Settings.model_fields["stop_timeout_s"].default

DEPLOYED = ("Dockerfile", "compose.yaml", "deploy/earmark.service", "docs/operations.md")


@pytest.mark.parametrize("name", DEPLOYED)
def test_every_setting_that_is_named_exists(name: str) -> None:
    """A misspelt variable is silently the default."""
    known = {f"EARMARK_{field.upper()}" for field in Settings.model_fields} | {"EARMARK_DB_PASSWORD"}
    named = set(re.findall(r"EARMARK_[A-Z_]+", (ROOT / name).read_text()))
    assert named and named <= known, named - known


def test_the_image_holds_every_package_and_nothing_else() -> None:
    copied = set(re.findall(r"^COPY (\w+) \w+$", DOCKERFILE, re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert copied == packages
    context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    files = set(re.search(r"^COPY (.+) \./$", DOCKERFILE, re.MULTILINE).group(1).split())
    assert context == packages | files
    assert all((ROOT / name).exists() for name in context)


def test_the_image_does_not_run_as_root_and_starts_a_command_that_exists() -> None:
    # A number, since an orchestrator that forbids root cannot know whose name it is.
    user = re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE).group(1)
    assert int(user) > 0 and re.search(rf"useradd .*--uid {user} .*\bearmark\b", DOCKERFILE, re.MULTILINE)
    words = re.search(r"^CMD \[(.+)\]$", DOCKERFILE, re.MULTILINE).group(1)
    assert build_parser().parse_args([word.strip(' "') for word in words.split(",")]).run


def test_compose_has_no_default_password_and_publishes_on_loopback_only() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for use in re.findall(r"\$\{EARMARK_DB_PASSWORD[^}]*\}", text):
        assert ":?" in use
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["earmark"]["ports"])
    assert "ports" not in COMPOSE["services"]["database"]
    major = int(re.search(r"postgres:(\d+)", COMPOSE["services"]["database"]["image"]).group(1))
    assert major >= 15


def test_whoever_stops_the_service_waits_longer_than_it_takes() -> None:
    """Killed while it finishes its answers, it would lose them."""
    grace_s = int(COMPOSE["services"]["earmark"]["stop_grace_period"].removesuffix("s"))
    unit_s = int(re.search(r"TimeoutStopSec=(\d+)", UNIT).group(1))
    assert min(grace_s, unit_s) > STOP_TIMEOUT_S


def test_the_unit_starts_a_command_that_exists() -> None:
    words = re.search(r"^ExecStart=\S+/earmark (.+)$", UNIT, re.MULTILINE).group(1).split()
    assert build_parser().parse_args(words).run
