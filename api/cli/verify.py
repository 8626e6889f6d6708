"""`earmark verify FILE...`: did this audio come from here, and how sure is each technique?"""

import argparse
import sys
from typing import Any

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers
from api.cli.progress import Progress
from api.cli.session import STANDARD_STREAM, open_service, print_json, read_input, wants_json
from api.cli.wording import describe, notes


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="tell whether audio came from here",
        description="Prints a verdict and the evidence of each technique. Exits 0 whatever the verdict. "
        "With --json: one object for one file, a list for several.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio file, or - for standard input")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge each file. One that cannot be judged is named on stderr and makes the exit code 1; the others are
    still printed."""
    from audio import AudioError

    detections: list[dict[str, Any]] = []
    num_failed = 0
    with open_service(args) as service, Progress("verifying") as progress:
        for done, name in enumerate(args.files):
            if len(args.files) > 1:
                progress.draw(done, len(args.files))
            try:
                detection = service.detect(read_input(name)).model_dump(mode="json")
            except (AudioError, CommandError) as exc:
                num_failed += 1
                progress.clear()
                print(f"earmark: {exc if name in str(exc) else f'{name}: {exc}'}", file=sys.stderr)
                continue
            detections.append(detection)
            if not wants_json(args):
                progress.clear()
                print(describe("standard input" if name == STANDARD_STREAM else name, detection))
    if detections and wants_json(args):
        print_json(detections[0] if len(args.files) == 1 else detections)
    elif detections:
        print(notes(detections))
    return 1 if num_failed else 0
