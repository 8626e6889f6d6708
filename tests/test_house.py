"""The rules of the house that no linter knows: each is here because someone would break it in good faith."""

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from api.cli.main import build_parser

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("audio", "generation", "watermark", "registry", "api")
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _tracked_files() -> list[Path]:
    """What git tracks or would track; outside a git checkout, everything but environments and caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        ignored = {".venv", ".git", "build", "dist", "demo", "runs", "data"}
        paths = [path for path in ROOT.rglob("*") if not ignored & set(path.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]


def _text_files() -> list[tuple[Path, str]]:
    files = []
    for path in _tracked_files():
        data = path.read_bytes()
        if b"\0" not in data[:4096]:
            files.append((path, data.decode("utf-8", errors="replace")))
    return files


def _python_files() -> list[Path]:
    return [
        path for path in _tracked_files() if path.suffix == ".py" and path.parts[len(ROOT.parts)] in PACKAGES
    ]


def _shell_lines(document: str) -> list[str]:
    """Commands in the fenced `sh` blocks of a document, continuation lines joined."""
    blocks = re.findall(r"^```(?:sh|shell|bash|console)\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def _commands_named(document: str, program: str) -> list[list[str]]:
    commands = []
    for line in _shell_lines(document):
        for part in re.split(r"\s(?:\||&&|>)\s", line):
            words = shlex.split(part, comments=True)
            if words and Path(words[0]).name == program:
                commands.append(words[1:])
    return commands


# README


@pytest.mark.parametrize("words", _commands_named(README, "earmark"), ids=" ".join)
def test_every_earmark_command_in_the_readme_is_one_the_parser_takes(words: list[str]) -> None:
    """A README that shows an option of last month is the first thing a newcomer trips over."""
    if "--help" in words:
        return
    assert build_parser().parse_args(words).run


def test_the_readme_shows_the_commands_of_the_main_job() -> None:
    """Guards the test above against passing because it found no commands."""
    shown = {words[0] for words in _commands_named(README, "earmark") if words}
    assert {"mark", "verify", "serve", "log", "index"} <= shown


def test_the_readme_shows_the_table_of_the_demo_as_it_is_now() -> None:
    """A line for each marked file, the pasted mark and each person, and each verdict as it must be."""
    from api.demo.cases import MARKED, NEVER_MARKED, SAID, VICTIM

    names = [
        f"{SAID}_marked.wav",
        f"{MARKED[0]}_marked.flac",
        *(f"{name}_unmarked.flac" for name in NEVER_MARKED),
    ]
    for name in (*names, f"{VICTIM}_pasted_mark_x1.flac", "kathleen_2_pasted_mark_x3.flac"):
        [line] = re.findall(rf"^{re.escape(name)} .*$", README, re.MULTILINE)
        assert line.endswith(" ok"), line


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile", *ROOT.glob("docs/**/*.md")]
    named = {t for path in documents for t in re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)`", path.read_text())}
    named |= {words[0] for words in _commands_named(README, "make")}
    assert {"demo", "test"} <= named
    assert named <= targets


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def test_every_rest_path_in_the_readme_is_served() -> None:
    """The paths in the README's curl examples against the routes of the application, without starting it."""
    from api.app import create_app
    from api.settings import Settings

    app = create_app(Settings())
    served = {*app.openapi()["paths"], app.openapi_url}
    patterns = [re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$") for path in served]
    shown = set(re.findall(r"http://127\.0\.0\.1:8000(/[^\s\"'`?]*)", README))
    assert {"/v1/marks", "/v1/detections"} <= shown
    for path in shown:
        assert any(pattern.match(path) for pattern in patterns), f"{path} is in the README but not served"


# the tree


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    """Such a path works where it was written and nowhere else."""
    machine_path = re.compile(
        r"(?<![\w.$}/-])/(?:" + "|".join(["work", "root", "home", "opt", "Users"]) + r")/\w"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in _text_files()
        if path.name != "LICENSE"
        for number, line in enumerate(text.splitlines(), 1)
        if machine_path.search(line)
    ]
    assert not found


def test_no_key_no_environment_and_nothing_huge_is_tracked() -> None:
    """A key in the repository lets anyone mark as us; a forgotten corpus makes every clone slow."""
    for path in _tracked_files():
        name = path.relative_to(ROOT)
        assert path.suffix not in {".key", ".pem"} and not path.name.endswith(".key.json"), name
        most = 32 if name.is_relative_to("generation/weights") else 16  # decision 0032
        assert path.stat().st_size < most * 2**20, f"{name} is {path.stat().st_size / 2**20:.0f} MiB"


def test_every_module_opens_by_saying_what_it_is() -> None:
    for path in _python_files():
        text = path.read_text()
        if text.strip():
            assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)} has no module docstring"


def test_every_decision_fits_one_screen_and_names_what_enforces_it() -> None:
    decisions = sorted(ROOT.glob("docs/decisions/0*.md"))
    assert len(decisions) >= 6
    for number, path in enumerate(decisions, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-"), f"{path.name}: numbers have a gap or a double"
        assert len(text.splitlines()) <= 60, f"{path.name} does not fit one screen"
        assert "**Enforced by**" in text, f"{path.name} names no enforcer"


# installation


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_normal(name): version for name, version in pairs}


def _declared() -> list[str]:
    project = PROJECT["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]
    return [_normal(re.split(r"[\s<>=!~;\[]", item)[0]) for item in [*project["dependencies"], *extras]]


def test_every_declared_dependency_has_an_exact_version() -> None:
    assert set(_declared()) <= set(_pins())


def test_what_is_installed_is_what_is_pinned() -> None:
    """Numbers measured with one version and installed with another are nobody's numbers."""
    wrong = {}
    for name, pinned in _pins().items():
        try:
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that this environment does not have
        if installed != pinned:
            wrong[name] = f"{installed}, pinned {pinned}"
    assert not wrong


FIXED_IN = {"starlette": "1.3.1", "python-multipart": "0.0.27"}
"""What parses strangers' requests: the first versions without the holes that pyproject.toml names."""


@pytest.mark.parametrize("name", FIXED_IN)
def test_what_is_installed_is_above_a_floor_without_known_holes(name: str) -> None:
    """constraints.txt pins one version; who installs without it gets any that pyproject.toml allows."""
    requirements = map(Requirement, PROJECT["project"]["dependencies"])
    (specifier,) = [one.specifier for one in requirements if _normal(one.name) == name]
    (floor,) = [Version(one.version) for one in specifier if one.operator == ">="]
    assert floor >= Version(FIXED_IN[name])
    assert specifier.contains(importlib.metadata.version(name))
    assert specifier.contains(_pins()[name])


# packages


def test_the_packages_depend_on_each_other_in_one_direction_only() -> None:
    """The contracts of pyproject.toml, so that plain `pytest` judges them as well."""
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


_IMPORT_WATCH = """
import importlib, os, sys, threading
root, package = sys.argv[1:]
seen = []
def watch(event, args):
    if event in ("subprocess.Popen", "os.system", "os.fork", "socket.bind", "socket.connect"):
        seen.append(event)
    elif event == "open" and isinstance(args[0], str):
        path, mode = args[0], args[1] or "r"
        ours = path.startswith(root) and ".venv" not in path and "__pycache__" not in path
        if ours and (not path.endswith(".py") or set(mode) & set("wax+")):
            seen.append(f"open {path}")
sys.addaudithook(watch)
importlib.import_module(package)
ours = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
print("\\n".join(seen + ours), end="")
"""


@pytest.mark.parametrize("package", [*PACKAGES, "api.cli.main"])
def test_importing_a_package_starts_nothing_and_reads_nothing(package: str) -> None:
    """No process, thread, socket, weights or settings at import: a tool must be able to look first."""
    watched = subprocess.run(
        [sys.executable, "-c", _IMPORT_WATCH, str(ROOT), package],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout == ""


def test_the_command_line_answers_without_loading_anything_heavy() -> None:
    """`earmark --help` took seconds the moment one command module imported torch at its top."""
    program = "import sys, api.cli.main as m; m.build_parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "scipy", "faiss", "sqlalchemy", "fastapi", "pydantic", "av"} & set(loaded)
