"""`earmark train`: training speech, and the codec, the voice, the public watermark, the fingerprint."""

import argparse
from pathlib import Path

from api.cli.parsers import Subparsers, hours, positive_int, whole_number
from api.cli.progress import Progress
from api.cli.session import print_json, wants_json


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("train", parents=[common], help="train a network")
    networks = parser.add_subparsers(title="networks", metavar="NETWORK", required=True)
    fingerprint = networks.add_parser(
        "fingerprint",
        parents=[common],
        help="the network behind the fingerprints",
        description="Trains, calibrates on held-out speakers and writes OUT/weights; a run that was stopped "
        "goes on from its checkpoint. Generations keep the fingerprints they were given, so what was issued "
        "before is not found with new weights.",
    )
    fingerprint.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with the recordings")
    fingerprint.add_argument(
        "--minutes", type=positive_int, default=65, metavar="N", help="time to train (default: %(default)s)"
    )
    fingerprint.add_argument(
        "--start", type=Path, metavar="FILE", help="weights to begin with (default: random ones)"
    )
    _add_run(fingerprint)
    fingerprint.set_defaults(run=run_fingerprint)
    _add_data_parser(networks, common)
    _add_codec_parser(networks, common)
    _add_speech_parser(networks, common)
    _add_watermark_parser(networks, common)


def _add_run(parser: argparse.ArgumentParser) -> None:
    """What every training is told: where it writes, and what it computes with."""
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the weights"
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=2,
        metavar="N",
        help="processor threads (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="where torch computes (default: %(default)s)")


def _add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        type=positive_int,
        default=6_000,
        metavar="N",
        help="steps from the first one ever (default: %(default)s)",
    )


def _add_watermark_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
    mark = networks.add_parser(
        "watermark",
        parents=[common],
        help="the public watermark",
        description="Trains a generator and a detector, calibrates on held-out speakers and writes "
        "OUT/public_mark.safetensors, for --public-weights; a run that was stopped goes on from its "
        "checkpoint.",
    )
    mark.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with the recordings")
    _add_steps(mark)
    _add_run(mark)
    mark.set_defaults(run=run_watermark)


def run_watermark(args: argparse.Namespace) -> int:
    """Prints the figures on test speakers. Decoded recordings are cached in OUT, 170 MB for an hour."""
    from watermark.train.public.config import SealRun
    from watermark.train.public.loop import run_public

    run = SealRun(
        data=args.corpus, out=args.output, steps=args.steps, threads=args.threads, device=args.device
    )
    with Progress("training") as progress:
        figures = run_public(run, progress.note)
    return _print_figures(args, figures)


def _add_codec_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
    codec = networks.add_parser(
        "codec",
        parents=[common],
        help="the small speech codec",
        description="Trains the small codec and writes OUT/codec.safetensors; a run that was "
        "stopped goes on from its checkpoint, and so does one with more steps. Needs "
        "pip install 'earmark[bench,train]' and, for names in no dictionary, apt-get install flite.",
    )
    codec.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with the recordings")
    _add_steps(codec)
    codec.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="a codec.safetensors to begin with (default: random weights)",
    )
    for name, text in (
        ("frozen-from", "step from which codes no longer change"),
        ("adversarial-from", "step from which a discriminator joins"),
    ):
        codec.add_argument(f"--{name}", type=positive_int, metavar="N", help=f"{text} (default: never)")
    _add_run(codec)
    codec.set_defaults(run=run_codec)


def run_codec(args: argparse.Namespace) -> int:
    """Prints the figures on held-out sentences. Decoded recordings are cached in OUT, 170 MB for an hour."""
    from generation.train.codec.config import CodecRun
    from generation.train.codec.loop import run_codec as run_training

    run = CodecRun(
        data=args.corpus,
        out=args.output,
        steps=args.steps,
        start=args.start,
        frozen_from=args.frozen_from,
        adversarial_from=args.adversarial_from,
        threads=args.threads,
        device=args.device,
    )
    with Progress("training") as progress:
        figures = run_training(run, progress.note)
    return _print_figures(args, figures)


def _add_speech_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
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
    _add_run(speech)
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
    return _print_figures(args, figures)


def _add_data_parser(networks: Subparsers, common: argparse.ArgumentParser) -> None:
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


def run_fingerprint(args: argparse.Namespace) -> int:
    """Prints the figures on held-out speakers. Spectrograms are cached in OUT, 31 MB for an hour."""
    from registry.fingerprint.train import TrainConfig
    from registry.fingerprint.train import run as run_training

    config = TrainConfig(
        data=args.corpus,
        out=args.output,
        cache=args.output / "cache",
        minutes=args.minutes,
        start=args.start,
        threads=args.threads,
        device=args.device,
    )
    with Progress("training") as progress:
        figures = run_training(config, progress.note)
    return _print_figures(args, figures)


def _print_figures(args: argparse.Namespace, figures: dict[str, float]) -> int:
    if wants_json(args):
        print_json(figures)
        return 0
    for name, figure in figures.items():
        print(f"{name:<24}  {figure:.3f}")
    return 0


def run_data(args: argparse.Namespace) -> int:
    """Prints one line for each voice: hours to train on and to test on, items, and how many were dropped."""
    from generation.train.data import DataConfig, build

    config = DataConfig(
        args.corpus,
        args.out,
        args.hours_espeak,
        args.hours_flite,
        args.styled_copies,
        args.hours_dialogues,
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
