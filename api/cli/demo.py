"""`earmark demo`: the main job on our own voice and on recordings, as one table; fails on a wrong verdict."""

import argparse
import signal
import sys
from pathlib import Path

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers
from api.cli.progress import Progress
from api.cli.session import print_json, wants_json

_TERMINATED = 143  # 128 + SIGTERM, as shells count


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="speak, mark, alter and verify speech through a running server",
        description="Starts a server with throwaway data, says a text, marks recordings, alters both and "
        "asks about each copy.",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="where the judged files go (default: demo)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when a verdict is not what it must be; each such row is named on stderr."""
    from api.demo.errors import DemoError
    from api.demo.report import failures, table
    from api.demo.run import run as run_demo

    # Without this, SIGTERM ends Python on the spot and leaves the server and its database running.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(_TERMINATED))
    try:
        with Progress("demo:") as progress:
            result = run_demo(args.output, progress.note)
    except DemoError as exc:
        raise CommandError(str(exc)) from exc
    if wants_json(args):
        print_json(
            [
                {"file": row.case.file_name, "latency_ms": row.latency_ms, **row.detection}
                for row in result.rows
            ]
        )
    else:
        print(table(result.rows, result.names))
        print(f"\nThe {len(result.rows)} files are in {args.output}/ to be listened to.")
    failed = failures(result.rows)
    for sentence in failed:
        print(f"earmark: {sentence}", file=sys.stderr)
    return 1 if failed else 0
