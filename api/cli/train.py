"""`earmark train`: the codec, the public watermark, the fingerprint; the voice is in train_voice.py."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli import train_voice
from api.cli.parsers import Subparsers, positive_int
from api.cli.progress import Progress
from api.cli.training import add_run, add_steps, print_figures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_OURS = 240  # sentences that a voice of ours says for the calibration


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
    fingerprint.add_argument(
        "--codec",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a codec.safetensors that copies go through; may be given several times",
    )
    fingerprint.add_argument(
        "--voice",
        metavar="MODEL",
        help="a model that speaks, such as mini: calibrates on what it says, beside people and synthesizers",
    )
    add_run(fingerprint)
    fingerprint.set_defaults(run=run_fingerprint)
    train_voice.add_data_parser(networks, common)
    _add_codec_parser(networks, common)
    train_voice.add_codebooks_parser(networks, common)
    train_voice.add_speech_parser(networks, common)
    _add_watermark_parser(networks, common)


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
    add_steps(mark)
    add_run(mark)
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
    return print_figures(args, figures)


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
    add_steps(codec)
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
    codec.add_argument(
        "--speech", type=Path, metavar="FOLDER", help="what earmark train data made, for --spoken-voice"
    )
    codec.add_argument(
        "--spoken-voice",
        action="append",
        default=[],
        metavar="NAME",
        help="a voice of it that counts as much as the recorded one; may be given several times",
    )
    add_run(codec)
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
        speech=args.speech,
        spoken_voices=tuple(args.spoken_voice),
        threads=args.threads,
        device=args.device,
    )
    with Progress("training") as progress:
        figures = run_training(run, progress.note)
    return print_figures(args, figures)


def run_fingerprint(args: argparse.Namespace) -> int:
    """Prints the figures on held-out speakers. Spectrograms are cached in OUT, 31 MB for an hour."""
    from generation.train.codec.recode import recoder
    from registry.fingerprint.train import TrainConfig, respoken
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
    sentences = respoken.sentences(args.corpus, "validation", NUM_OURS) if args.voice else []
    with Progress("training") as progress:
        codecs = [recoder(codec) for codec in args.codec]
        figures = run_training(config, progress.note, codecs, _spoken(args.voice, sentences))
    return print_figures(args, figures)


def _spoken(model: str | None, sentences: list[str]) -> "list[NDArray[np.float32]]":
    """What a voice of ours says, two sentences at a time."""
    if model is None:
        return []
    import numpy as np

    from generation import Speaker

    speaker = Speaker.load(model)
    texts = [" ".join(sentences[n : n + 2]) for n in range(0, len(sentences), 2)]
    return [np.concatenate(list(speaker.say(speaker.read(t), seed=n))) for n, t in enumerate(texts)]
