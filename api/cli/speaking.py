"""What `say` and `converse` share: speech goes to a file while it is made, and is then reported."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from api.cli.progress import Progress
from api.cli.session import STANDARD_STREAM, open_output, print_json, wants_json

if TYPE_CHECKING:
    from api.speech import MarkedSpeech

OPUS_SUFFIXES = (".ogg", ".opus")
OTHER_SUFFIXES = (".mp3", ".flac", ".m4a", ".aac")  # a file of such a name that is WAV misleads who opens it


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=_output,
        required=True,
        metavar="OUT",
        help="where to write, or - for standard output",
    )


def _output(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"speech is written as WAV or Ogg Opus, not as {suffix}; end OUT in .wav, .ogg or .opus"
        )
    return name


def write_speech(name: str, speech: "MarkedSpeech", expected_s: float) -> None:
    """Ogg Opus where `name` ends so, else WAV. Stopped in between, the generation is aborted and the file is
    as it was."""
    try:
        with open_output(name) as file, Progress("speaking") as progress:
            _write(file, name, speech, progress, expected_s)
    finally:
        speech.close()


def report_speech(
    args: argparse.Namespace, speech: "MarkedSpeech", model: str, more: Mapping[str, str] | None = None
) -> None:
    """On standard output, unless the audio is there. `more` goes into the JSON."""
    report = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    if wants_json(args):
        print_json(_public(speech, model) | dict(more or {}), report)
        return
    print(f"{args.output}: {speech.duration_s:.1f} s of speech", file=report)
    print(f"  generation {speech.generation.generation_id}", file=report)
    print(f"  content id {speech.content_id_hex}", file=report)


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
