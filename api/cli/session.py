"""What the commands share: settings from the options, an open service, input and output as bytes.

Every heavy import happens inside a function here, never at the top.
"""

import argparse
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from api.cli.errors import CommandError, UsageError

if TYPE_CHECKING:
    from api.access.accounts import Accounts
    from api.service import Service
    from api.settings import Settings
    from registry import Registry

STANDARD_STREAM = "-"


def settings(args: argparse.Namespace, *more: str) -> "Settings":
    """The service's settings: defaults, then environment, then the options that were given: the common ones,
    and those in `more` that mean settings in this command.

    Raises UsageError when a value does not fit, naming it.
    """
    from pydantic import ValidationError

    from api.settings import Settings

    names = ("data_dir", "database_url", "public_weights", *more)
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    try:
        return Settings(**given)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = "_".join(map(str, first["loc"])) or "settings"
        raise UsageError(f"{name.replace('_', '-')}: {first['msg']}") from exc


@contextlib.contextmanager
def open_service(args: argparse.Namespace) -> Iterator["Service"]:
    """The whole service in this process: key, registry and index. Starting takes seconds the first time."""
    from api.service import Service

    chosen = settings(args)
    limit_threads(chosen)
    with Service.open(chosen) as service:
        yield service


def limit_threads(chosen: "Settings") -> None:
    """Have torch compute in as many threads as were chosen; before anything is loaded, which starts them.

    Left to itself it takes all cores, and its threads wait for each other: beside another program on two
    cores a stranger's 5.5 s took the mark's detector 10 s in place of 0.25 (2026-11-27).
    """
    import torch

    torch.set_num_threads(chosen.torch_threads)


@contextlib.contextmanager
def open_registry(args: argparse.Namespace) -> Iterator["Registry"]:
    """The registry alone, for commands that neither mark nor detect."""
    from api.service import open_registry

    with open_registry(settings(args)) as registry:
        yield registry


@contextlib.contextmanager
def open_accounts(args: argparse.Namespace) -> Iterator["Accounts"]:
    """The API keys of the registry, under the server's secret; makes that secret on first use."""
    from api.access.accounts import Accounts
    from api.access.secret import ServerSecret

    secret = ServerSecret.load_or_create(settings(args).server_secret_path)
    with open_registry(args) as registry:
        yield Accounts(registry.keys, secret)


def read_input(name: str) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises CommandError with what to do."""
    if name == STANDARD_STREAM:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise CommandError(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise CommandError(f"{name} is a folder; name the files in it") from None
    except OSError as exc:
        raise CommandError(f"{name} cannot be read: {exc.strerror}") from exc


def write_output(name: str, data: bytes) -> None:
    """Write to a file, whole or not at all, or to standard output for `-`."""
    with open_output(name) as file:
        file.write(data)
        file.flush()


@contextlib.contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends well, or standard output for `-`.

    A crash before the rename leaves a hidden `.part` file beside the target; it and an error leave the target
    as it was. Raises CommandError when it cannot be written.
    """
    if name == STANDARD_STREAM:
        yield sys.stdout.buffer
        return
    target = Path(name)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    except OSError as exc:
        raise CommandError(f"{name} cannot be written: {exc.strerror}; name another file with -o") from exc
    finally:
        partial.unlink(missing_ok=True)


def refuse_terminal(name: str) -> None:
    """Raises UsageError when audio would go to a terminal."""
    if name == STANDARD_STREAM and os.isatty(sys.stdout.fileno()):
        raise UsageError("audio is not written to a terminal; use `-o FILE` or redirect the output")


def wants_json(args: argparse.Namespace) -> bool:
    return getattr(args, "json", False)


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """Two spaces of indent, UTF-8 as it is, a final newline; on standard output unless told otherwise."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), file=stream)
