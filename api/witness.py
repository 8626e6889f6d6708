"""The witness over HTTP: `POST /add-checkpoint`, as C2SP tlog-witness (2026) has it.

    uvicorn.run(create_witness(settings, trust))

It keeps a key of its own (`keys/witness.key`) and the last tree of each log in the data folder. It is no part
of the service: run it on another machine, for other people's logs. Not covered: rate limits, TLS.
"""

from anyio import to_thread
from fastapi import FastAPI, Request, Response

from api.settings import Settings
from registry import LogUnavailable
from registry.log import LogFiles, TrustRoot
from registry.log.signer import Signer
from registry.log.witness import Answer, Witness

MAX_BODY_BYTES = 110_000

STATUSES = {
    Answer.SIGNED: (200, "text/plain; charset=utf-8"),
    Answer.MALFORMED: (400, "text/plain; charset=utf-8"),
    Answer.UNTRUSTED: (403, "text/plain; charset=utf-8"),
    Answer.UNKNOWN_LOG: (404, "text/plain; charset=utf-8"),
    Answer.CONFLICT: (409, "text/x.tlog.size"),
    Answer.INCONSISTENT: (422, "text/plain; charset=utf-8"),
}


def create_witness(settings: Settings, trust: TrustRoot) -> FastAPI:
    """The application; makes the witness's key on first use. `app.state.key` is its public half.

    Raises `LogRefused` when the key cannot be used.
    """
    keys = settings.data_dir / "keys"
    files = LogFiles(settings.data_dir, keys / "witness.key", keys / "witness.signed")
    key = Signer.load_or_create(files).key
    witness = Witness(key, trust.logs, settings.data_dir / "witnessed")
    app = FastAPI(title="Earmark witness", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.key = str(key.witness_verifier)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return Response("this is no submission\n", 413)
        try:
            answer, text = await to_thread.run_sync(witness.add_checkpoint, body)
        except LogUnavailable as exc:
            return Response(f"{exc}\n", 503, {"Retry-After": "10"})
        status, media_type = STATUSES[answer]
        return Response(text, status, media_type=media_type)

    return app
