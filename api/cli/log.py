"""`earmark log list`: what this registry issued, newest first."""

import argparse
from typing import TYPE_CHECKING

from api.cli.parsers import Subparsers, positive_int
from api.cli.session import open_registry, print_json, wants_json

if TYPE_CHECKING:
    from api.schemas import GenerationRecord


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("log", parents=[common], help="look at what was issued")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[common], help="generations, newest first")
    listing.add_argument(
        "--limit", type=positive_int, default=20, metavar="N", help="at most N (default: %(default)s)"
    )
    listing.set_defaults(run=run_list)


def run_list(args: argparse.Namespace) -> int:
    """One line for each generation; with --json a list of what `GET /v1/generations/{id}` answers."""
    from api.schemas import GenerationRecord

    with open_registry(args) as registry:
        records = [GenerationRecord.of(generation) for generation in registry.generations(args.limit)]
    if wants_json(args):
        print_json([record.model_dump(mode="json") for record in records])
        return 0
    for record in records:
        print(_line(record))
    if not records:
        print("nothing was issued yet; `earmark mark IN -o OUT` issues")
    return 0


def _line(record: "GenerationRecord") -> str:
    return (
        f"{record.created_at:%Y-%m-%d %H:%M:%SZ}  {record.generation_id}  {record.content_id}  "
        f"{record.state:<8}  {record.duration_s:7.1f} s  "
        f"{record.system} {record.system_version}, {record.model}"
    )
