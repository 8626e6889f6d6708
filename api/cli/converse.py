"""`earmark converse USER -o REPLY`: let the model answer a recording; its speech is marked and registered."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.cli.errors import CommandError
from api.cli.parsers import Subparsers, seconds, seed
from api.cli.session import (
    STANDARD_STREAM,
    limit_threads,
    open_service,
    read_input,
    refuse_terminal,
    settings,
    wants_json,
)
from api.cli.speaking import add_output, report_speech, write_speech

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from generation import Spoken


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "converse",
        parents=[common],
        help="let the model answer a recording; its speech is marked and registered",
        description="The model hears USER as if it were on the line and may speak at any time. REPLY is its "
        "side of the conversation, on USER's clock: Ogg Opus where it ends in .ogg or .opus, else WAV. "
        "Its words are printed when it has ended.",
    )
    parser.add_argument("user", metavar="USER", help="audio file of the user's side, or - for standard input")
    add_output(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a folder or a name on the Hugging Face hub, such as kyutai/moshiko-pytorch-bf16 "
        "(default: EARMARK_MODEL, or mini, which comes with this package)",
    )
    parser.add_argument(
        "--after",
        type=seconds,
        default=5.0,
        metavar="S",
        help="seconds that the model may go on after USER has ended (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="have it say the same again (default: by chance)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The generation is in registry and log before its first sample is written, as with `say`."""
    refuse_terminal(args.output)
    told = settings(args, "model")
    limit_threads(told)
    from api.speech import MarkedSpeech
    from audio import SAMPLE_RATE_HZ, AudioError, decode
    from generation import MINI_VOICE, Dialogue, num_frames, reply

    try:
        wav_T = decode(read_input(args.user)).wav_T
    except AudioError as exc:
        raise CommandError(f"{args.user}: {exc}") from exc
    dialogue = Dialogue.load(told.model or MINI_VOICE, device=told.device, precision=told.precision)
    expected_s = num_frames(dialogue, len(wav_T), args.after) * dialogue.frame_samples / SAMPLE_RATE_HZ
    words: list[str] = []
    frames = _speech(reply(dialogue, wav_T, seed=args.seed, after_s=args.after), words)
    with open_service(args) as service:
        speech = MarkedSpeech(service.open_stream(dialogue.name), frames)
        write_speech(args.output, speech, expected_s)
    text = "".join(words).strip()
    report_speech(args, speech, dialogue.name, {"text": text})
    if not wants_json(args):
        print(f"  said {text!r}", file=sys.stderr if args.output == STANDARD_STREAM else sys.stdout)
    return 0


def _speech(said: "Iterator[Spoken]", words: list[str]) -> "Iterator[NDArray[np.float32]]":
    """The samples; the words are kept."""
    for spoken in said:
        words.append(spoken.text)
        yield spoken.speech_T
