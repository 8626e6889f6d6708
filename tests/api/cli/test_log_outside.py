"""`earmark log monitor URL` and `earmark log witness`, as those run them who do not run the log.

The log's folder is behind any web server: that is all a tiles log needs.
"""

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.settings import Settings
from api.witness import create_witness
from registry.log import Checkpoint, TrustRoot, VerifierKey
from registry.log.merkle import consistency_proof
from registry.log.note import Note
from registry.log.tiles import TileFolder, TileReader
from tests.api.cli.test_log import marked
from tests.api.cli.test_main import SPEECH, Earmark, assert_refused, earmark

__all__ = ["earmark", "marked"]  # the fixtures
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "data" / "log") as url:
        yield url


def test_a_monitor_follows_a_log_and_tells_when_it_was_rewritten(
    earmark: Earmark, marked: Path, served: str, tmp_path: Path
) -> None:
    key, kept = earmark("log", "key").out.strip(), tmp_path / "kept"
    follow = ["log", "monitor", served, "--key", key, "--keep", kept]
    first = earmark(*follow, "--json")
    assert json.loads(first.out)["num_new_by_kind"] == {"detector-release": 1, "generation": 2}
    old = {path: path.read_bytes() for path in (tmp_path / "data/log").rglob("*") if path.is_file()}
    earmark("mark", SPEECH, "-o", tmp_path / "2.flac")
    assert json.loads(earmark(*follow, "--json").out)["num_new_by_kind"] == {"generation": 2}
    for path, content in old.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    code, _, err = earmark(*follow)
    assert code == 1 and "was rewritten" in err
    assert earmark("log", "monitor", served, "--key", key).code == 2, "it must name a file to keep"


def test_a_log_that_is_away_has_an_exit_code_of_its_own(
    earmark: Earmark, marked: Path, served: str, tmp_path: Path
) -> None:
    """1 wakes somebody up: nobody should be woken because a server is restarted. And nothing that trying
    again cannot mend is taken for a log that is away."""
    key, kept = earmark("log", "key").out.strip(), tmp_path / "kept"
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        follow = ["log", "monitor", f"http://{address}", "--key", key, "--keep", kept]
        own = ["--database-url", f"postgresql://{address}/x", "log", "monitor"]
        assert_refused(earmark, [(follow, 3, "does not answer"), (own, 3, "does not answer")])
    assert not kept.exists()
    for name in ("example.org/v1/log", "https://", "ftp://example.org", "http://[", "log"):
        wrong = ["log", "monitor", name, "--key", key, "--keep", kept, "--every", "0.1"]
        assert_refused(earmark, [(wrong, 2, "is no web address")])
    unusable = ["log", "monitor", served, "--key", key, "--every", "0.1", "--keep"]
    assert_refused(earmark, [([*unusable, tmp_path], 1, "cannot be read")])
    assert_refused(earmark, [([*unusable, tmp_path / "no" / "folder"], 1, "cannot be written")])
    with pytest.raises(SystemExit) as refused:
        earmark("log", "monitor", served, "--key", key, "--keep", kept, "--every", "0")
    assert refused.value.code == 2


def test_a_monitor_goes_on_while_the_log_is_away_and_ends_when_it_was_rewritten(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    """With --every it must live through a restart of what it watches, and still end with 1 for an alarm."""
    folder, rewritten = tmp_path / "data" / "log", tmp_path / "rewritten"
    key = earmark("log", "key").out.strip()
    shutil.copytree(folder, rewritten)
    earmark("mark", SPEECH, "-o", tmp_path / "2.flac")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        url = first.enter_context(serving(folder))
        command = [sys.executable, "-m", "api.cli.main", "log", "monitor", url, "--key", key]
        command += ["--keep", str(tmp_path / "kept"), "--every", "0.1"]
        monitor = stack.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
            )
        )
        stack.callback(monitor.kill)
        assert monitor.stdout is not None and monitor.stderr is not None
        assert "5 entries, consistent; new: 1 detector-release, 4 generation" in monitor.stdout.readline()
        first.close()
        said = monitor.stderr.readline()
        assert said.startswith("earmark: http") and "looking again in 0.1 s" in said
        assert monitor.poll() is None
        stack.enter_context(serving(rewritten, int(url.rpartition(":")[2])))
        assert monitor.wait(60) == 1
        assert "was rewritten" in monitor.stderr.read().splitlines()[-1]


def test_a_witness_signs_what_extends_and_refuses_what_does_not(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    """Over HTTP, with the statuses of C2SP tlog-witness; its cosignature counts in a trust root."""
    log_key = earmark("log", "key").out.strip()
    folder = TileFolder(tmp_path / "data" / "log")
    first = folder.checkpoint()
    assert first is not None
    size = Checkpoint.of(first).size
    app = create_witness(Settings(data_dir=tmp_path / "witness"), TrustRoot.parse(log_key))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/add-checkpoint"

        def submit(old: int, proof: list[bytes], note: bytes) -> httpx.Response:
            lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof)]
            return httpx.post(url, content=("\n".join(lines) + "\n\n").encode() + note)

        try:
            while not server.started:
                assert thread.is_alive()
            signed = submit(0, [], first)
            assert signed.status_code == 200
            conflict = submit(0, [], first)
            assert (conflict.status_code, conflict.text) == (409, f"{size}\n")
            assert conflict.headers["Content-Type"].startswith("text/x.tlog.size")
            earmark("mark", SPEECH, "-o", tmp_path / "2.flac")
            second = folder.checkpoint()
            assert second is not None
            newer = Checkpoint.of(second).size
            proof = consistency_proof(TileReader(folder.read, newer).node, size, newer)
            assert submit(size, proof[::-1], second).status_code == 422
            assert submit(size, [], second).status_code == 422
            assert submit(size, proof, second).status_code == 200
            assert submit(newer + 1, [], second).status_code == 400
            assert submit(newer, [], second.replace(b"earmark/", b"another/")).status_code == 404
            assert (
                submit(newer, [], second.replace(b"\n%d\n" % newer, b"\n%d\n" % (newer + 1))).status_code
                == 403
            )
            assert submit(newer, [], b"no note").status_code == 400
        finally:
            server.should_exit = True
            thread.join()
    cosigned = first + signed.content
    witness = VerifierKey.parse(app.state.key)
    trust = TrustRoot((VerifierKey.parse(log_key),), (witness,), quorum=1)
    assert trust.checkpoint(cosigned)[1] == [witness]
    assert Note.parse(cosigned).text == Note.parse(first).text


def _interruptible() -> None:
    """Who starts the tests in the background of a shell has them ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def witnessing(data_dir: Path, trust: str, port: int) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The command itself, and the key that it prints."""
    command = [sys.executable, "-m", "api.cli.main", "--data-dir", str(data_dir), "log", "witness"]
    command += ["--key", trust, "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible
    ) as process:
        assert process.stderr is not None
        try:
            name, _, key = process.stderr.readline().strip().partition(" ")
            assert name == "witness"
            while process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield key, process
        finally:
            process.kill()


def test_the_witness_command_serves_until_it_is_told_to_stop_and_remembers(
    earmark: Earmark, marked: Path, tmp_path: Path
) -> None:
    """What it prints is the key that a trust root needs; after a restart it still knows what it signed."""
    log_key = earmark("log", "key").out.strip()
    note = (tmp_path / "data" / "log" / "checkpoint").read_bytes()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/add-checkpoint"
    with witnessing(tmp_path / "witness", log_key, port) as (key, process):
        signed = httpx.post(url, content=b"old 0\n\n" + note)
        assert signed.status_code == 200
        root = f"log {log_key}\nwitness w1 {key}\nquorum w1\n"
        assert TrustRoot.parse(root).checkpoint(note + signed.content)[1] == [VerifierKey.parse(key)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    (tmp_path / "root").write_text(root)
    with witnessing(tmp_path / "witness", str(tmp_path / "root"), port) as (again, process):
        assert again == key
        answer = httpx.post(url, content=b"old 0\n\n" + note)
        assert (answer.status_code, answer.text) == (409, f"{Checkpoint.of(note).size}\n")
        with witnessing(tmp_path / "witness", log_key, port) as (_, second):
            assert second.wait(30) == 1, "the address is in use"
        process.terminate()
        process.wait(30)


def test_a_witness_that_knows_no_log_is_not_started(earmark: Earmark, tmp_path: Path) -> None:
    refused = [(["log", "witness"], 2, "--key"), (["log", "witness", "--key", "nonsense"], 1, "public key")]
    assert_refused(earmark, refused)
