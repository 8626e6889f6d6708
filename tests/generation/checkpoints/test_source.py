"""Folders and the hub: the real client of the hub against a small server that speaks its HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from generation.checkpoints import Checkpoint
from generation.checkpoints.source import PACKAGED, Folder, Repository, fetch, place
from generation.errors import CheckpointError
from tests.generation.tiny import TINY_MOSHI, write_tiny_checkpoint

OLD, NEW = "0" * 40, "1" * 40


@dataclass
class Hub:
    """Repositories as `{name: {commit: folder}}`; "main" is the commit in `main`."""

    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    main: str = OLD
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of `/{owner}/{name}/resolve/{revision}/{file}`."""
        owner, name, _, revision, *parts = path.strip("/").split("/")
        self.asked.append(path)
        commits = self.repositories.get(f"{owner}/{name}")
        if commits is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = self.main if revision == "main" else revision
        if commit not in commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        file = commits[commit].joinpath(*parts)
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        data = file.read_bytes()
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{commit[:4]}{file.name}"'}, data


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            status, headers, data = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield hub
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub_is_downloaded_and_named_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    """`main` moves; a registry entry that says which model spoke must not."""
    hub.repositories["owner/tiny"] = {OLD: write_tiny_checkpoint(tmp_path / "tiny")}
    checkpoint = Checkpoint.open("owner/tiny")
    assert checkpoint.label == f"owner/tiny@{OLD}" and checkpoint.moshi == TINY_MOSHI
    assert checkpoint.moshi_path.read_bytes() == (tmp_path / "tiny/model.safetensors").read_bytes()


def test_all_files_come_from_the_commit_of_the_first(hub: Hub, tmp_path: Path) -> None:
    """Somebody pushes new weights while the old configuration has just been read."""
    hub.repositories["owner/tiny"] = {
        OLD: write_tiny_checkpoint(tmp_path / "old"),
        NEW: write_tiny_checkpoint(tmp_path / "new", seed=1),
    }
    source = Repository("owner/tiny")
    assert source.find("config.json") is not None
    hub.main = NEW
    weights = fetch(source, "model.safetensors")
    assert weights.read_bytes() == (tmp_path / "old/model.safetensors").read_bytes()
    assert fetch(Repository("owner/tiny"), "model.safetensors").read_bytes() != weights.read_bytes()


def test_a_revision_may_be_named(hub: Hub, tmp_path: Path) -> None:
    """owner/name@revision."""
    hub.repositories["owner/tiny"] = {
        OLD: tmp_path,
        NEW: write_tiny_checkpoint(tmp_path / "new"),
    }
    assert Checkpoint.open(f"owner/tiny@{NEW}").label == f"owner/tiny@{NEW}"
    with pytest.raises(CheckpointError, match="has no revision 'v9'"):
        Checkpoint.open("owner/tiny@v9")


def test_a_file_of_another_repository_may_be_named(hub: Hub, tmp_path: Path) -> None:
    """`hf://owner/name/file`, as published configurations write it."""
    (tmp_path / "codec.safetensors").write_bytes(b"codec")
    hub.repositories["owner/codec"] = {OLD: tmp_path}
    assert fetch(Folder(tmp_path), "hf://owner/codec/codec.safetensors").read_bytes() == b"codec"


def test_what_is_in_the_cache_needs_no_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that restarts while the hub is down goes on with what it has."""
    hub.repositories["owner/tiny"] = {OLD: write_tiny_checkpoint(tmp_path / "tiny")}
    before = Checkpoint.open("owner/tiny")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"  # nobody listens there
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert Checkpoint.open("owner/tiny") == before


def test_without_a_network_the_error_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what else can be done. Offline by a setting, since the client tries for 25 s otherwise."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"the hub cannot be reached: .* give a local folder"):
        Checkpoint.open("owner/tiny")


def test_an_unknown_repository_is_one_sentence(hub: Hub) -> None:
    """The hub says the same of private ones."""
    with pytest.raises(CheckpointError, match=r"neither a local folder nor a repository .*hf auth login"):
        Checkpoint.open("owner/nothing")


def test_a_repository_without_the_file_says_which(hub: Hub, tmp_path: Path) -> None:
    """A repository of something else."""
    (tmp_path / "README.md").touch()
    hub.repositories["owner/essay"] = {OLD: tmp_path}
    with pytest.raises(CheckpointError, match=r"owner/essay\S* has no model\.safetensors"):
        Checkpoint.open("owner/essay")


def test_mini_is_what_comes_with_the_package_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder of that name is asked for by its path."""
    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    packaged, local = place("mini"), place("./mini")
    assert isinstance(packaged, Folder) and isinstance(local, Folder)
    assert (packaged.label, local.label) == ("mini", "mini")
    assert packaged.path == PACKAGED and local.path.resolve() == tmp_path / "mini"
    assert packaged.find("codec.safetensors") is not None


@pytest.mark.parametrize(
    "model", ["./mini", "maxi", "/not/there", "./models/x", "a/b/c", "", Path("owner/name")]
)
def test_what_can_be_neither_folder_nor_repository_is_refused_at_once(model: str | Path) -> None:
    """A mistyped path must not become a question to the hub."""
    with pytest.raises(CheckpointError, match="is no folder"):
        place(model)


@pytest.mark.parametrize("name", ["owner/..", "ow ner/name", "owner/name--x/"])
def test_a_name_that_the_hub_does_not_allow_is_refused(hub: Hub, name: str) -> None:
    """By its client, before it asks."""
    with pytest.raises(CheckpointError):
        Checkpoint.open(name)
    assert not hub.asked


def test_a_repository_may_not_name_files_of_this_machine(hub: Hub, tmp_path: Path) -> None:
    """Its config.json was written by somebody else."""
    for name in (f"file://{tmp_path}/x", "/etc/hostname", "../x", "a/../../x"):
        with pytest.raises(CheckpointError, match="outside of it"):
            fetch(Repository("owner/tiny"), name)
