"""`earmark say TEXT -o OUT`: speak a text with our own voice; what leaves is marked and registered."""

import argparse

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers, seed
from api.cli.session import (
    STANDARD_STREAM,
    limit_threads,
    open_service,
    read_input,
    refuse_terminal,
    settings,
)
from api.cli.speaking import add_output, report_speech, write_speech


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "say",
        parents=[common],
        help="speak a text; the speech is marked and registered",
        description="Reads English text, numbers and abbreviations included, sentence by sentence, and "
        "writes the speech while it is made: Ogg Opus where OUT ends in .ogg or .opus, else WAV.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say (default: standard input)")
    add_output(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a folder with a voice, such as `earmark train speech` makes "
        "(default: EARMARK_MODEL, or mini, which comes with this package)",
    )
    parser.add_argument("--style", metavar="NAME", help="how to say it (default: neutral)")
    parser.add_argument("--voice", metavar="NAME", help="who says it (default: the model's own)")
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="say it again in the same way (default: by chance)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The generation is in registry and log before its first sample is written. Stopped in between, it stays
    there as aborted, and OUT as it was.
    """
    refuse_terminal(args.output)
    text = _text(args.text)
    from api.speech import MarkedSpeech
    from generation import MINI_VOICE, Speaker

    chosen = settings(args, "model")
    limit_threads(chosen)
    speaker = Speaker.load(chosen.model or MINI_VOICE)
    request = speaker.read(text, style=args.style, voice=args.voice)
    with open_service(args) as service:
        speech = MarkedSpeech.begin(service, speaker, request, seed=args.seed)
        write_speech(args.output, speech, request.expected_s)
    report_speech(args, speech, speaker.name)
    return 0


def _text(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return read_input(STANDARD_STREAM).decode()
    except UnicodeDecodeError:
        raise CommandError("standard input is no text in UTF-8; convert it, for example with iconv") from None
