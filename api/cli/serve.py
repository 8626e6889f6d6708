"""`earmark serve`: the REST service, until it is told to stop."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from api.cli.errors import expected_errors, sentence
from api.cli.parsers import Subparsers, add_public_weights, port
from api.cli.session import settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SWITCH_S = 1e-4
"""How long a thread of Python may go on while another waits: a worker that comes back from numpy waits for
the other one and for the event loop, hundreds of times a detection. With Python's 5 ms the cores idled for a
fifth of the time (docs/LOG.md, 2026-11-26)."""

_FAILED = "lifespan.startup.failed"


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "serve",
        parents=[common],
        help="run the REST service",
        description="Serves until SIGINT or SIGTERM, then finishes its answers and stops its database.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="port to listen on (default: %(default)s)")
    add_public_weights(parser)
    talk = parser.add_argument_group("speech to speech, on /api/chat")
    talk.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a folder with a checkpoint, or a name on the Hugging Face hub (default: none, no speech)",
    )
    talk.add_argument(
        "--device",
        choices=("cpu", "cuda", "mps"),
        default=argparse.SUPPRESS,
        help="where the model computes (default: cpu)",
    )
    talk.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default=argparse.SUPPRESS,
        help="of the language model's weights (default: the file's)",
    )
    parser.add_argument(
        "--voice",
        metavar="VOICE",
        default=argparse.SUPPRESS,
        help="`mini`, or a folder with a voice, which says texts on POST /v1/generations (default: none)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Blocks until the service has stopped; exit code 1 when it could not start."""
    chosen = settings(args, "model", "device", "precision", "voice")
    import torch
    import uvicorn

    from api import allocator, logs
    from api.app import UVICORN_OPTIONS, create_app
    from api.compute import Children
    from registry.fingerprint.windows import Fingerprinter

    logs.configure()
    allocator.keep_freed_memory()
    sys.setswitchinterval(SWITCH_S)
    torch.set_num_threads(1)  # or loading starts threads; create_app sets what is wanted
    children = Children.fork(min(chosen.num_workers, os.cpu_count() or 1), Fingerprinter.load())
    app = _with_short_start_errors(create_app(chosen, children=children))
    config = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        log_config=None,  # ours, set above
        access_log=False,  # it would hold addresses and queries; api.problems.Edge logs what may be logged
        server_header=False,
        timeout_graceful_shutdown=chosen.stop_timeout_s,
        **UVICORN_OPTIONS,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit:
        return 1  # it could not start and has said why: a part that is missing, an address in use
    return 0


def _with_short_start_errors(app: "ASGIApp") -> "ASGIApp":
    """The application; a start that fails for an expected reason is logged as its sentence alone."""

    async def wrapped(scope: "Scope", receive: "Receive", send: "Send") -> None:
        failures: list[Message] = []

        async def hold_back_failure(message: "Message") -> None:
            if message["type"] == _FAILED:
                failures.append(message)
            else:
                await send(message)

        try:
            await app(scope, receive, hold_back_failure if scope["type"] == "lifespan" else send)
        except expected_errors() as exc:
            if not failures:
                raise
            await send({"type": _FAILED, "message": sentence(exc)})
        except Exception:
            for failure in failures:
                await send(failure)
            raise

    return wrapped
