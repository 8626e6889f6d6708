"""`earmark export`: every generation that a filter names, as CSV or JSON Lines, with progress on a
terminal."""

import argparse
import sys
from pathlib import Path
from typing import TextIO

from api.cli.errors import CommandError
from api.cli.filters import add_filters, wanted
from api.cli.parsers import Subparsers
from api.cli.progress import Progress
from api.cli.session import STANDARD_STREAM, open_registry

FORMATS = ("csv", "jsonl")  # twin: api.export.ExportFormat, which is too heavy to import here


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "export",
        parents=[common],
        help="write what was issued as CSV or JSON Lines",
        description="Newest first. The file appears under its name when it is whole.",
    )
    parser.add_argument(
        "-o", "--output", default=STANDARD_STREAM, metavar="FILE", help="default: standard output"
    )
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="default: %(default)s")
    add_filters(parser)
    parser.add_argument(
        "--receipts", action="store_true", help="also the proof of each one's log entry, without its salt"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """A crash leaves a `.part` file beside the output, which is as it was."""
    if args.output == STANDARD_STREAM:
        _write(args, sys.stdout)
        return 0
    target = Path(args.output)
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            _write(args, file)
        partial.replace(target)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise CommandError(f"{target} cannot be written: {exc.strerror}; name another file with -o") from exc
    return 0


def _write(args: argparse.Namespace, out: TextIO) -> None:
    from api import export
    from api.export import ExportFormat

    chosen = wanted(args)
    form = ExportFormat(args.format)
    with open_registry(args) as registry, Progress("exporting") as progress:
        total, done = registry.count_generations(chosen), 0
        out.write(export.header(form, receipts=args.receipts))
        for page in export.pages(registry, chosen, receipts=args.receipts):
            out.write(export.lines(page, form))
            done += len(page)
            progress.draw(done, max(total, done))
