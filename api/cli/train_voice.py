"""`earmark train data`, `codebooks` and `speech`: from a corpus to the small voice."""

import argparse
from pathlib import Path

from api.cli.parsers import Subparsers, hours, positive_int, whole_number
from api.cli.progress import Progress
from api.cli.session import print_json, wants_json
from api.cli.training import add_run, print_figures


def add_data_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
    data = networks.add_parser(
        "data",
        parents=[common],
        help="speech with its words and their times, which the voice is trained on",
        description="Aligns the recorded voice of CORPUS, lets espeak-ng and flite speak its texts, and "
        "trains the vocabulary. A run that was stopped goes on; more hours add to what is there.",
    )
    data.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with voice/ and text/")
    data.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where the speech goes")
    for synthesizer in ("espeak", "flite"):
        data.add_argument(
            f"--hours-{synthesizer}",
            type=hours,
            default=3.0,
            metavar="H",
            help=f"speech of {synthesizer} to train on; 0 for none (default: %(default)g)",
        )
    data.add_argument(
        "--flite-voice",
        action="append",
        choices=("slt", "rms", "awb"),
        help="a voice of flite, may be repeated (default: all three, slt half of the hours)",
    )
    data.add_argument(
        "--hours-rare",
        type=hours,
        default=0.0,
        metavar="H",
        help="more of the first --flite-voice: sentences chosen for words that it has seldom said "
        "(default: none)",
    )
    data.add_argument(
        "--hours-dialogues",
        type=hours,
        default=0.0,
        metavar="H",
        help="conversations of two synthesizers, a channel each (default: none)",
    )
    data.add_argument(
        "--styled-copies",
        type=positive_int,
        default=1,
        metavar="N",
        help="copies of each recording in another style (default: %(default)s)",
    )
    data.set_defaults(run=run_data)


def run_data(args: argparse.Namespace) -> int:
    """Prints one line for each voice: hours to train on and to test on, items, and how many were dropped."""
    from generation.train.data import DataConfig, build
    from generation.train.data.build import FLITE_SHARES

    config = DataConfig(
        args.corpus,
        args.out,
        args.hours_espeak,
        args.hours_flite,
        args.styled_copies,
        args.hours_dialogues,
        tuple(args.flite_voice or FLITE_SHARES),
        args.hours_rare,
    )
    with Progress("speaking") as progress:
        figures = build(config, progress.note)
    if wants_json(args):
        print_json([voice._asdict() for voice in figures])
        return 0
    for voice in figures:
        print(
            f"{voice.voice:<14}{voice.train_h:7.2f} h train{voice.test_h:6.2f} h test"
            f"{voice.num_items:7} items{voice.num_dropped:5} dropped"
        )
    return 0


def add_codebooks_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
    books = networks.add_parser(
        "codebooks",
        parents=[common],
        help="the codec's codebooks, placed anew on given voices",
        description="Puts the entries of a codec's codebooks where the frames of these voices lie, in "
        "minutes and without training; its encoder and decoder stay. Codes become others, so a voice has "
        "to be trained on them.",
    )
    books.add_argument("data", type=Path, metavar="SPEECH", help="what `earmark train data` made")
    books.add_argument(
        "--voice", action="append", required=True, metavar="NAME", help="whose frames; may be repeated"
    )
    books.add_argument(
        "--start", type=Path, metavar="FILE", help="a codec.safetensors (default: the one that is shipped)"
    )
    books.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the new codec")
    books.add_argument("--threads", type=positive_int, default=2, metavar="N", help="default: %(default)s")
    books.set_defaults(run=run_codebooks)


def run_codebooks(args: argparse.Namespace) -> int:
    """Prints what is left of held-out frames, in dB of a band, for each voice."""
    from generation.train.codec.config import SHIPPED
    from generation.train.codec.refit import RefitRun, refit

    start, voices = args.start or SHIPPED, tuple(args.voice)
    run = RefitRun(args.data, args.output, voices, start, threads=args.threads)
    with Progress("placing") as progress:
        figures = refit(run, progress.note)
    return print_figures(args, figures)


def add_speech_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
    speech = networks.add_parser(
        "speech",
        parents=[common],
        help="the small voice that `earmark say` speaks with",
        description="Trains Moshi's architecture at a small size on the codes of a codec that no longer "
        "change, and writes OUT/model; a run that was stopped goes on from its checkpoint, and so does one "
        "with more steps. The stages follow each other: text alone, text and speech of all voices, then "
        "mostly one voice, then conversations beside it.",
    )
    speech.add_argument("data", type=Path, metavar="SPEECH", help="what `earmark train data` made")
    speech.add_argument(
        "--codec",
        type=Path,
        metavar="FILE",
        help="codec.safetensors of `earmark train codec` (default: the one that is shipped)",
    )
    speech.add_argument(
        "--start", type=Path, metavar="FOLDER", help="a model of the same size to begin with (default: none)"
    )
    for stage, default in (("text", 0), ("joint", 0), ("say", 5_000), ("dialogue", 0)):
        speech.add_argument(
            f"--{stage}-steps",
            type=whole_number,
            default=default,
            metavar="N",
            help=f"steps of the stage `{stage}` (default: {default})",
        )
    speech.add_argument(
        "--voice", default="kathleen", metavar="NAME", help="whose voice it will be (default: %(default)s)"
    )
    speech.add_argument(
        "--other",
        action="append",
        metavar="NAME",
        help="a voice to train on besides, may be repeated (default: all there are)",
    )
    speech.add_argument(
        "--phases",
        type=positive_int,
        default=4,
        metavar="N",
        help="positions of the voice's recordings in their frames; few recordings need more (default: 4)",
    )
    speech.add_argument("--neutral", action="store_true", help="leave out what is not neutral")
    add_run(speech)
    speech.set_defaults(run=run_speech)


def run_speech(args: argparse.Namespace) -> int:
    """Prints the cross-entropies on held-out sentences. Codes are cached in OUT, 1 MB for an hour."""
    from generation.train.codec.config import SHIPPED
    from generation.train.speech.config import MINI_DIALOGUE, MINI_SPEECH, SpeechRun, Stage
    from generation.train.speech.loop import run_speech as run_training

    run = SpeechRun(
        data=args.data,
        codec=args.codec or SHIPPED,
        out=args.output,
        start=args.start,
        steps={stage: getattr(args, f"{stage}_steps") for stage in Stage},
        model=MINI_DIALOGUE if args.dialogue_steps else MINI_SPEECH,
        voice=args.voice,
        phases=args.phases,
        others=None if args.other is None else tuple(args.other),
        styled=not args.neutral,
        threads=args.threads,
        device=args.device,
    )
    with Progress("training") as progress:
        figures = run_training(run, progress.note)
    return print_figures(args, figures)
