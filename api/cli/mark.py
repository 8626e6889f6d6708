"""`earmark mark IN -o OUT`: put the mark on speech that another engine made, and register it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers, add_public_weights
from api.cli.session import (
    STANDARD_STREAM,
    open_service,
    print_json,
    read_input,
    refuse_terminal,
    wants_json,
    write_output,
)

if TYPE_CHECKING:
    from api.marking import MarkedFile

CONTAINERS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".ogg": "ogg", ".opus": "ogg", ".m4a": "m4a"}


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "mark",
        parents=[common],
        help="mark and register speech",
        description="The output has the input's length and rate, "
        "and the container that OUT ends in (.wav .flac .mp3 .ogg .opus .m4a), else its own.",
    )
    parser.add_argument("input", metavar="IN", help="audio file, or - for standard input")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="where to write, or - for standard output"
    )
    parser.add_argument(
        "--receipt", metavar="FILE", help="where to write the receipt (default: OUT.tlog-proof)"
    )
    add_public_weights(parser)
    engine = parser.add_argument_group("which engine spoke, for the registry")
    engine.add_argument("--system", metavar="NAME", help="its name")
    engine.add_argument("--system-version", metavar="VERSION", help="its version")
    engine.add_argument("--model", metavar="NAME", help="the model or voice")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Durable first, written second: a failure in between leaves a generation in the registry and no file,
    and running the command again makes another generation.
    """
    refuse_terminal(args.output)
    data = read_input(args.input)
    from api.marking import Origin
    from audio import AudioError

    given = {name: getattr(args, name) for name in ("system", "system_version", "model")}
    origin = Origin(**{name: value for name, value in given.items() if value is not None})
    with open_service(args) as service:
        try:
            marked = service.mark_file(data, origin, CONTAINERS.get(Path(args.output).suffix.lower()))
        except AudioError as exc:
            raise CommandError(f"{args.input}: {exc}") from exc
        if receipt_name := args.receipt or _beside(args.output):
            write_output(receipt_name, marked.receipt.encode())
        write_output(args.output, marked.data)
    # With the audio on standard output, what is said about it must not be mixed into it.
    report = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    if wants_json(args):
        print_json(_public(marked), report)
    else:
        print(f"{args.output}: marked as generation {marked.generation.generation_id}", file=report)
        print(f"  {marked.container}, content id {marked.content_id_hex}", file=report)
        print(
            f"  log entry {marked.receipt.index}, receipt {receipt_name or 'not kept (--receipt)'}",
            file=report,
        )
    return 0


def _beside(output: str) -> str | None:
    return None if output == STANDARD_STREAM else f"{output}.tlog-proof"


def _public(marked: "MarkedFile") -> dict[str, str]:
    return {
        "generation_id": str(marked.generation.generation_id),
        "content_id": marked.content_id_hex,
        "created_at": marked.generation.created_at.isoformat().replace("+00:00", "Z"),
        "container": marked.container,
        "media_type": marked.media_type,
        "receipt": marked.receipt.encode().decode(),
    }
