"""`earmark verify FILE...`: did this audio come from here, and how sure is each technique?"""

import argparse
import sys
from pathlib import Path
from typing import Any

from api.cli.errors import CommandError, UsageError
from api.cli.log_outside import trust_root
from api.cli.parsers import Subparsers, add_public_weights
from api.cli.plot import NUM_PEAKS, draw, require_plot
from api.cli.progress import Progress
from api.cli.session import (
    STANDARD_STREAM,
    open_service,
    print_json,
    read_input,
    wants_json,
    write_output,
)
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
    parser.add_argument(
        "--check",
        action="store_true",
        help="FILE is a signed result (its JSON): check it; a second FILE is the audio that it is about",
    )
    parser.add_argument(
        "--key", metavar="KEY", help="with --check: the public key that signed, or a file with it"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="OUT.png",
        help="draw waveform, score over time and spans of the one FILE; also .svg and .pdf",
    )
    add_public_weights(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge each file. One that cannot be judged is named on stderr and makes the exit code 1; the others are
    still printed. With --check, judge nothing and need no registry."""
    if args.check:
        return run_check(args)
    if args.plot is not None:
        if len(args.files) > 1:
            raise UsageError("--plot draws one FILE; verify them one by one")
        require_plot(args.plot)
    if args.key is not None:
        raise UsageError("--key is for --check: verifying audio needs the registry itself")
    from audio import AudioError

    detections: list[dict[str, Any]] = []
    num_failed = 0
    with open_service(args) as service, Progress("verifying") as progress:
        for done, name in enumerate(args.files):
            if len(args.files) > 1:
                progress.draw(done, len(args.files))
            try:
                num_peaks = None if args.plot is None else NUM_PEAKS
                found = service.detect(read_input(name), num_peaks=num_peaks)
                detection = found.model_dump(mode="json")
            except (AudioError, CommandError) as exc:
                num_failed += 1
                progress.clear()
                print(f"earmark: {exc if name in str(exc) else f'{name}: {exc}'}", file=sys.stderr)
                continue
            detections.append(detection)
            if args.plot is not None:
                picture = draw(Path(name).name, detection, args.plot.suffix)
                write_output(str(args.plot), picture)
            if not wants_json(args):
                progress.clear()
                print(describe("standard input" if name == STANDARD_STREAM else name, detection))
    if detections and wants_json(args):
        print_json(detections[0] if len(args.files) == 1 else detections)
    elif detections:
        print(notes(detections))
    return 1 if num_failed else 0


def run_check(args: argparse.Namespace) -> int:
    """Whether a result was signed by this key and not changed, and is about the audio, if that is given."""
    import hashlib

    from api import signing

    if len(args.files) > 2:
        raise UsageError("--check takes one result, and the one audio file that it is about")
    result_name, audio_name = (*args.files, None)[:2]
    result = signing.parse(read_input(result_name))
    key = signing.check(result, trust_root(args).logs)
    sha256 = result["input"]["sha256"]
    if audio_name is not None and sha256 != hashlib.sha256(read_input(audio_name)).hexdigest():
        raise CommandError(f"{result_name} is genuine, and it is about another file than {audio_name}")
    if wants_json(args):
        print_json({"valid": True, "signed_by": str(key), "audio_compared": audio_name is not None})
        return 0
    print(f"signed by {key.name} at {result['created_at']}, about {audio_name or f'SHA-256 {sha256}'}")
    print(f"  {result['verdict']}: {result['verdict_reason']}")
    return 0
