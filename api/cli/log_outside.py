"""`earmark log verify|monitor|witness`: for those who do not run the log, and for those who watch it.

`verify` and `monitor URL` need no registry, no account and no trust in the service: only its public key.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from api.cli.errors import CommandError, UnreachableError, UsageError, sentence
from api.cli.parsers import Subparsers, period, port
from api.cli.session import open_registry, print_json, read_input, settings, wants_json

if TYPE_CHECKING:
    from registry.log import TrustRoot
    from registry.log.monitor import Monitor, Report

MAX_TILE_BYTES = 20_000_000  # 256 leaves of 65 kB


def add_parsers(actions: Subparsers, common: argparse.ArgumentParser) -> None:
    verify = actions.add_parser(
        "verify",
        parents=[common],
        help="check a receipt offline",
        description="Exit code 0: the entry is in the log, and AUDIO is what it was logged for.",
    )
    verify.add_argument("receipt", metavar="RECEIPT", help="a .tlog-proof file, or - for standard input")
    verify.add_argument("audio", nargs="?", metavar="AUDIO", help="the audio that the receipt came with")
    _add_key(verify)
    verify.set_defaults(run=run_verify)

    monitor = actions.add_parser(
        "monitor",
        parents=[common],
        help="follow a log and tell when it was rewritten",
        description="Without URL: compare our own log with its tiles, its database and its generations. "
        "Exit code 1: something is wrong, and it is named. Exit code 3: the log, or our own database, could "
        "not be reached; with --every that is said on stderr and tried again.",
    )
    monitor.add_argument("url", nargs="?", metavar="URL", help="such as https://example.org/v1/log")
    _add_key(monitor)
    monitor.add_argument("--keep", type=Path, metavar="FILE", help="where the last good checkpoint is kept")
    monitor.add_argument("--every", type=period, metavar="S", help="look again every S seconds, until wrong")
    monitor.set_defaults(run=run_monitor)

    witness = actions.add_parser(
        "witness",
        parents=[common],
        help="co-sign other logs' checkpoints (C2SP tlog-witness)",
        description="Serves POST /add-checkpoint for the logs of the trust root until it is told to stop.",
    )
    _add_key(witness)
    witness.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    witness.add_argument("--port", type=port, default=8001, help="port (default: %(default)s)")
    witness.set_defaults(run=run_witness)


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", metavar="KEY", help="public key of the log, or a file with a key or a trust root"
    )


def run_verify(args: argparse.Namespace) -> int:
    """Reads two or three files and nothing else."""
    from audio import SAMPLE_RATE_HZ, decode
    from registry.log import Receipt

    trust = trust_root(args)
    receipt = Receipt.parse(read_input(args.receipt))
    verified = receipt.verify(trust)
    matched = None
    if args.audio is not None:
        data = read_input(args.audio)
        matched = receipt.check_audio(data, lambda: _pcm_sha256(decode(data).wav_T))
    if wants_json(args):
        print_json(
            {
                "index": verified.index,
                "entry": verified.entry,
                "log": verified.checkpoint.origin,
                "size": verified.checkpoint.size,
                "witnesses": [key.name for key in verified.witnesses],
                "audio": matched,
            }
        )
        return 0
    print(f"entry {verified.index} of {verified.checkpoint.size} in {verified.checkpoint.origin}: logged")
    print(f"  {verified.entry}")
    if matched == "file":
        print(f"  {args.audio} is, byte for byte, the file that was released")
    elif matched == "samples":
        print(f"  {args.audio} holds the samples that were released ({SAMPLE_RATE_HZ} Hz), in another file")
    else:
        print("  no audio was compared; name it after the receipt")
    return 0


def run_monitor(args: argparse.Namespace) -> int:
    """Looks once, or again and again with --every; ends with what is wrong, not with what is away."""
    from registry import LogUnavailable

    if args.url is None:
        if args.keep or args.every or args.key:
            raise UsageError("--key, --keep and --every are for following a log at a URL")
        return _check_own(args)
    if args.keep is None:
        raise UsageError(
            "name a file with --keep: without the last checkpoint a rewritten log looks like new"
        )
    monitor = _monitor(args)
    while args.every is not None:
        try:
            _print_report(args, monitor.look())
        except LogUnavailable as exc:
            print(f"earmark: {sentence(exc)}; looking again in {args.every:g} s", file=sys.stderr, flush=True)
        time.sleep(args.every)
    try:
        _print_report(args, monitor.look())
    except LogUnavailable as exc:
        raise UnreachableError(sentence(exc)) from exc
    return 0


def _print_report(args: argparse.Namespace, report: "Report") -> None:
    if wants_json(args):
        print_json(vars(report))
    else:
        news = ", ".join(f"{count} {kind}" for kind, count in sorted(report.num_new_by_kind.items()))
        print(f"{report.origin}: {report.size} entries, consistent; new: {news or 'none'}")
    sys.stdout.flush()  # who reads along a pipe gets each look at once


def run_witness(args: argparse.Namespace) -> int:
    chosen = settings(args)
    trust = trust_root(args)
    import uvicorn

    from api.witness import create_witness

    app = create_witness(chosen, trust)
    print(f"witness {app.state.key}", file=sys.stderr, flush=True)
    try:
        uvicorn.Server(uvicorn.Config(app, host=args.host, port=args.port, log_level="warning")).run()
    except SystemExit:
        return 1  # an address in use; it has said so
    return 0


def trust_root(args: argparse.Namespace) -> "TrustRoot":
    """From --key, else the public key in the data folder."""
    from registry.log import TrustRoot
    from registry.log.signer import LogFiles

    if args.key is None:
        path = LogFiles.in_folder(settings(args).data_dir).key.with_suffix(".pub")
        if not path.exists():
            raise UsageError("whose log is it? give its public key with --key")
        return TrustRoot.parse(path.read_text())
    path = Path(args.key)
    return TrustRoot.parse(path.read_text() if path.is_file() else args.key)


def _monitor(args: argparse.Namespace) -> "Monitor":
    import httpx

    from registry import LogDamaged, LogUnavailable
    from registry.log.monitor import Monitor

    base = args.url.rstrip("/")
    try:
        parts, _ = urlsplit(base), httpx.URL(base)  # each refuses what the other takes
        is_web = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        is_web = False
    if not is_web:
        raise UsageError(f"{args.url!r} is no web address, such as https://example.org/v1/log")
    client = httpx.Client(timeout=30.0)

    def fetch(path: str) -> bytes:
        try:
            response = client.get(f"{base}/{path}")
        except httpx.HTTPError as exc:
            raise LogUnavailable(f"{base} does not answer: {exc}") from exc
        if response.status_code == httpx.codes.NOT_FOUND:
            raise LogDamaged(f"{base}/{path} is missing")
        if not response.is_success or len(response.content) > MAX_TILE_BYTES:
            raise LogUnavailable(f"{base}/{path} answered {response.status_code}")
        return response.content

    return Monitor(fetch, trust_root(args), args.keep)


def _check_own(args: argparse.Namespace) -> int:
    from registry import DatabaseUnavailable, LogUnavailable

    try:
        with open_registry(args) as registry:
            problems = registry.check_log()
    except (DatabaseUnavailable, LogUnavailable) as exc:
        raise UnreachableError(sentence(exc)) from exc
    if wants_json(args):
        print_json({"problems": problems})
    else:
        for problem in problems:
            print(problem)
    if problems:
        raise CommandError(f"the log does not agree with what is stored: {len(problems)} problems")
    if not wants_json(args):
        print("tiles, entries, generations and the last signed tree agree")
    return 0


def _pcm_sha256(wav_T: Any) -> bytes:
    import hashlib

    return hashlib.sha256(wav_T.astype("<f4").tobytes()).digest()
