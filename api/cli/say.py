"""`earmark say TEXT -o OUT`: speak a text with our own voice; what leaves is marked and registered."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from api.cli.errors import CommandError, UsageError
from api.cli.parsers import Subparsers, whole_number
from api.cli.progress import Progress
from api.cli.session import (
    STANDARD_STREAM,
    open_output,
    open_service,
    print_json,
    read_input,
    refuse_terminal,
    settings,
    wants_json,
)

if TYPE_CHECKING:
    from api.speech import MarkedSpeech

OPUS_SUFFIXES = (".ogg", ".opus")


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "say",
        parents=[common],
        help="speak a text; the speech is marked and registered",
        description="Reads English text, numbers and abbreviations included, sentence by sentence, and "
        "writes the speech while it is made: Ogg Opus where OUT ends in .ogg or .opus, else WAV.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say (default: standard input)")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="where to write, or - for standard output"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a folder with a voice, such as `earmark train speech` makes (default: EARMARK_MODEL)",
    )
    parser.add_argument("--style", metavar="NAME", help="how to say it (default: neutral)")
    parser.add_argument("--voice", metavar="NAME", help="who says it (default: the model's own)")
    parser.add_argument(
        "--seed", type=whole_number, metavar="N", help="say it again in the same way (default: by chance)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The generation is in registry and log before its first sample is written. Stopped in between, it stays
    there as aborted, and OUT as it was.
    """
    refuse_terminal(args.output)
    text = _text(args.text)
    model = settings(args, "model").model
    if model is None:
        raise UsageError("name a voice with --model FOLDER; `earmark train speech` makes one")
    from api.speech import MarkedSpeech
    from generation import Speaker

    speaker = Speaker.load(model)
    request = speaker.read(text, style=args.style, voice=args.voice)
    with open_service(args) as service:
        speech = MarkedSpeech.begin(service, speaker, request, seed=args.seed)
        try:
            with open_output(args.output) as file, Progress("speaking") as progress:
                _write(file, args.output, speech, progress, request.expected_s)
        finally:
            speech.close()
    # With the audio on standard output, what is said about it must not be mixed into it.
    report = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    if wants_json(args):
        print_json(_public(speech, speaker.name), report)
    else:
        print(f"{args.output}: {speech.duration_s:.1f} s of speech", file=report)
        print(f"  generation {speech.generation.generation_id}", file=report)
        print(f"  content id {speech.content_id_hex}", file=report)
    return 0


def _text(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return read_input(STANDARD_STREAM).decode()
    except UnicodeDecodeError:
        raise CommandError("standard input is no text in UTF-8; convert it, for example with iconv") from None


def _write(file: BinaryIO, name: str, speech: "MarkedSpeech", progress: Progress, expected_s: float) -> None:
    """Every sample goes out as soon as it is marked."""
    from audio import OpusWriter, WavWriter, wav_header

    opus = Path(name).suffix.lower() in OPUS_SUFFIXES
    writer = OpusWriter() if opus else WavWriter()
    for marked_T in speech:
        file.write(writer.push(marked_T))
        file.flush()
        progress.draw(min(int(10 * speech.duration_s), int(10 * expected_s)), int(10 * expected_s))
    file.write(writer.flush())
    if isinstance(writer, WavWriter) and name != STANDARD_STREAM:
        file.seek(0)
        file.write(wav_header(writer.num_samples))


def _public(speech: "MarkedSpeech", model: str) -> dict[str, str | float]:
    return {
        "generation_id": str(speech.generation.generation_id),
        "content_id": speech.content_id_hex,
        "created_at": speech.generation.created_at.isoformat().replace("+00:00", "Z"),
        "duration_s": round(speech.duration_s, 3),
        "model": model,
    }
