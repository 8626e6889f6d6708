"""Where a checkpoint's files come from: a local folder, or a repository of the hub at one commit.

    mini                        the small voice that comes with this package
    folder/                     a local folder wins when it is there
    owner/name                  the hub's newest commit at the first file; later files come from the same
    owner/name@revision         that branch, tag or commit

A file that config.json names as `hf://owner/name/file` comes from that repository, `file://path` from this
machine, which only a local checkpoint may ask for.
Downloads go through huggingface_hub and its cache, which is asked first when there is no network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from generation.errors import CheckpointError

MINI_VOICE = "mini"
"""The name of the packaged voice; a folder of that name is ./mini."""

PACKAGED = Path(__file__).resolve().parents[1] / "weights" / MINI_VOICE
"""Its files: docs/model-mini.md."""


class Source(Protocol):
    """A place with files. `label` is its name and commit, fit to be shown to anybody; `where` is for the
    errors of who runs this."""

    @property
    def label(self) -> str: ...

    @property
    def where(self) -> str: ...

    def find(self, name: str) -> Path | None:
        """The local path of a file, downloaded if need be; None when the place has no such file."""


@dataclass(frozen=True)
class Folder:
    """A folder on this machine."""

    path: Path

    @property
    def label(self) -> str:
        return self.path.resolve().name  # the path may name a person, and labels are public

    @property
    def where(self) -> str:
        return str(self.path)

    def find(self, name: str) -> Path | None:
        path = self.path / name
        return path if path.is_file() else None


class Repository:
    """A model repository of the hub. Pinned to one commit from the first file on."""

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name, self.revision = name, revision

    @property
    def label(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def where(self) -> str:
        return self.label

    def find(self, name: str) -> Path | None:
        from huggingface_hub import errors as hub
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(self.name, name, revision=self.revision))
        except hub.LocalEntryNotFoundError as exc:
            raise CheckpointError(
                f"{name} of {self.label} is not in the local cache and the hub cannot be reached:"
                " check the network, or give a local folder"
            ) from exc
        except hub.EntryNotFoundError:
            return None
        except hub.RevisionNotFoundError as exc:
            raise CheckpointError(f"{self.name} has no revision {self.revision!r} on the hub") from exc
        except (hub.RepositoryNotFoundError, hub.HFValidationError) as exc:
            raise CheckpointError(
                f"{self.name!r} is neither a local folder nor a repository that the hub shows you:"
                " check the name, or log in with `hf auth login`"
            ) from exc
        except (hub.HfHubHTTPError, OSError) as exc:
            raise CheckpointError(f"{name} of {self.label} cannot be downloaded: {exc}") from exc
        self.revision = _commit(path) or self.revision
        return path


def _commit(path: Path) -> str | None:
    """The commit under which the hub's cache keeps a file: …/snapshots/{commit}/{file}."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None


def place(model: str | Path) -> Source:
    """The folder or repository of that name. Raises CheckpointError when it can be neither."""
    path = PACKAGED if model == MINI_VOICE else Path(model)
    if str(model) and path.is_dir():
        return Folder(path)
    name, _, revision = str(model).partition("@")
    if isinstance(model, Path) or path.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise CheckpointError(f"{model} is no folder; a model is a folder, owner/name or owner/name@revision")
    return Repository(name, revision or None)


def fetch(source: Source, name: str) -> Path:
    """The file that config.json names. Raises CheckpointError when it is not there or may not be named."""
    if name.startswith("hf://"):
        owner, _, rest = name.removeprefix("hf://").partition("/")
        repository, _, inner = rest.partition("/")
        return fetch(Repository(f"{owner}/{repository}"), inner)
    if name.startswith("file://") and isinstance(source, Folder):
        source, name = Folder(Path("/")), name.removeprefix("file://").lstrip("/")
    elif Path(name).is_absolute() or ".." in Path(name).parts or "://" in name or not name:
        raise CheckpointError(f"the configuration of {source.where} names a file outside of it: {name!r}")
    path = source.find(name)
    if path is None:
        raise CheckpointError(f"{source.where} has no {name}: download it again, or take another model")
    return path
