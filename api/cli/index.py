"""`earmark index status|rebuild|check`: the search index, which is a replica of what PostgreSQL holds."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers
from api.cli.progress import Progress
from api.cli.session import open_registry, print_json, wants_json

if TYPE_CHECKING:
    from registry.replica import IndexCheck, IndexStatus


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("index", parents=[common], help="look after the search index")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, text in (
        ("status", run_status, "how much it holds and how far it has replayed"),
        ("rebuild", run_rebuild, "build it again from the database and swap it in"),
        ("check", run_check, "compare it with the database; exit code 1 when they differ"),
    ):
        action = actions.add_parser(name, parents=[common], help=text)
        action.set_defaults(run=run)


def run_status(args: argparse.Namespace) -> int:
    with open_registry(args) as registry:
        _show(args, registry.index.status())
    return 0


def run_rebuild(args: argparse.Namespace) -> int:
    with open_registry(args) as registry, Progress("rebuilding the index") as progress:
        status = registry.index.rebuild(progress=progress.draw)
    _show(args, status)
    return 0


def run_check(args: argparse.Namespace) -> int:
    with open_registry(args) as registry:
        report = registry.index.check()
    _show(args, report)
    if not report.passed:
        raise CommandError("the index differs from the database; run `earmark index rebuild`")
    return 0


def _show(args: argparse.Namespace, value: "IndexStatus | IndexCheck") -> None:
    """A result object as JSON, or as one line for each of its fields."""
    fields = {name: _plain(field) for name, field in dataclasses.asdict(value).items()}
    if wants_json(args):
        print_json(fields)
        return
    width = max(map(len, fields))
    for name, field in fields.items():
        print(f"{name.removeprefix('num_').replace('_', ' '):<{width}}  {field}")


def _plain(field: Any) -> Any:
    return str(field) if isinstance(field, Path) else field
