"""`earmark`: parse the arguments, run one command, turn expected errors into one sentence.

Exit codes: 0 done (for `verify`: judged, whatever the verdict), 1 the command failed, 2 it was called
wrongly, 3 (`log monitor` alone, whose 1 is an alarm) the log could not be reached, 130 interrupted. A
traceback means a fault of ours, never of the input.

Not here: what the commands do (one module each), and how they look up their settings (`api.settings`).
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from api.cli import (
    converse,
    demo,
    export,
    index,
    keys,
    log,
    mark,
    registry,
    say,
    serve,
    train,
    verify,
    watermark,
)
from api.cli.errors import CommandError, expected_errors, sentence

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line. Starts nothing and reads nothing."""
    common = _common_options()
    parser = argparse.ArgumentParser(
        prog="earmark",
        description="Provenance for generated speech: mark it, register it, and let anyone check it.",
        epilog="Settings are also read from EARMARK_DATA_DIR and EARMARK_DATABASE_URL; an option wins.",
        parents=[common],
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        say,
        converse,
        mark,
        verify,
        serve,
        keys,
        log,
        registry,
        export,
        index,
        train,
        watermark,
        demo,
    ):
        module.add_parser(commands, common)
    return parser


def _common_options() -> argparse.ArgumentParser:
    """Options of every command. SUPPRESS, so that a value given before the command is not reset after it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the key, the database and the index live (default: the user's data folder)",
    )
    group.add_argument(
        "--database-url", metavar="URL", help="a PostgreSQL server to use in place of the embedded one"
    )
    group.add_argument("--json", action="store_true", help="print JSON")
    return common


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. `argv` as in sys.argv[1:]; None reads that."""
    # Before numpy is imported: its threads wait for each other, and beside another program the search for
    # changed speeds took 1.2 s in place of 0.08 (docs/LOG.md, 2026-11-27).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="earmark: %(levelname)s: %(message)s")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone. Without this the interpreter complains again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CommandError as exc:
        print(f"earmark: {exc}", file=sys.stderr)
        return exc.exit_code
    except Exception as exc:
        if not isinstance(exc, expected_errors()):
            raise
        print(f"earmark: {sentence(exc)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
