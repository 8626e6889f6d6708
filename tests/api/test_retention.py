"""Zero retention, as the Code of Practice asks for it: what was submitted is nowhere once the answer is sent.

Noise that nobody has heard before is submitted in every way there is. Looked for afterwards, as bytes: slices
of each file, of its samples as float32 and as 16 bits, and its hash in three spellings. Looked in: every file
of the data folder (the database's own among them), every table, the open files of this process and of its
children, and what was touched since in the temporary folders, /var/tmp and /dev/shm, whoever made it.

Kept by design, and named here: the hash of the samples that POST /v1/marks released (`generation.pcm_sha256`;
the log has it salted), fingerprints, and for 24 hours the answer to a request with an Idempotency-Key, which
is encrypted: it must not be found either."""

import base64
import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Connection, create_engine, text

from api.fetch import Fetcher, Policy
from audio import SAMPLE_RATE_HZ, decode, encode
from tests.api.conftest import Server, flac
from tests.api.test_fetch import Files, files

FLAC = {"Content-Type": "audio/flac"}
TEMPORARY = sorted(
    path
    for path in {Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")}
    if path.is_dir()
)
CHUNK_BYTES, OVERLAP_BYTES = 1 << 24, 1 << 10  # of a file at a time, and what two readings share
SLICE_SAMPLES = 48  # 96 bytes at least: chance does not repeat them


@dataclass
class Canaries:
    """Bytes to look for, each with the name of what it is of."""

    of: dict[bytes, str] = field(default_factory=dict)

    def add(self, name: str, data: bytes, *wavs: NDArray[np.float32]) -> None:
        """A file as it was sent, and the samples that it holds."""
        sha256 = hashlib.sha256(data).digest()
        for place in (len(data) // 3, 2 * len(data) // 3):
            self.of[data[place : place + 64]] = f"{name}: the file"
        for spelling in (sha256, sha256.hex().encode(), base64.b64encode(sha256)):
            self.of[spelling] = f"{name}: its hash"
        for wav_T in wavs:
            for place in (len(wav_T) // 3, 2 * len(wav_T) // 3):
                slice_T = wav_T[place : place + SLICE_SAMPLES]
                self.of[slice_T.astype("<f4").tobytes()] = f"{name}: float32"
                self.of[np.rint(slice_T * 32_768).astype("<i2").tobytes()] = f"{name}: int16"

    def found_in(self, data: bytes) -> set[str]:
        return {name for one, name in self.of.items() if one in data}

    def found_in_row(self, row: str) -> set[str]:
        """The same in a row as text, where bytes are hex."""
        return {name for one, name in self.of.items() if one.hex() in row or one.decode("latin-1") in row}


# where is looked


def touched_files(server: Server, since_s: float) -> Iterator[Path]:
    """Links and sockets are not followed; what is not ours to read was not the service's to write."""
    data = server.service.settings.data_dir
    for root in (data, *TEMPORARY):
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError, PermissionError):  # other programs come and go
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and (root == data or status.st_mtime >= since_s):
                        yield path


def open_files() -> Iterator[Path]:
    """Also those that no folder knows. A child's are its own."""
    for process in {os.getpid(), *children(os.getpid())}:
        for path in Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):  # it was closed meanwhile
                if stat.S_ISREG(path.stat().st_mode):
                    yield path


def children(process: int) -> Iterator[int]:
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listed.read_text().split()):
                yield from (child, *children(child))


def found_in_file(canaries: Canaries, path: Path) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError, PermissionError), path.open("rb") as file:
        rest = b""
        while chunk := file.read(CHUNK_BYTES):
            found |= canaries.found_in(rest + chunk)
            rest = chunk[-OVERLAP_BYTES:]
    return found


def found_in_tables(canaries: Canaries, connection: Connection) -> dict[str, set[str]]:
    listed = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    tables = list(connection.execute(text(listed)).scalars())
    assert {"generation", "fingerprint", "log_entry", "log_salt", "reply"} <= set(tables)
    assert connection.execute(text("SELECT count(*) FROM pg_largeobject_metadata")).scalar_one() == 0
    found = {}
    for table in tables:
        for row in connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars():
            if here := canaries.found_in_row(row):
                found[table] = found.get(table, set()) | here
    return found


def search(server: Server, canaries: Canaries, since_s: float) -> tuple[dict[str, set[str]], int]:
    """Where something was found and what, and the number of files that were looked at."""
    with connection(server) as connected:
        found = found_in_tables(canaries, connected)
    num_files = 0
    for path in (*touched_files(server, since_s), *open_files()):
        num_files += 1
        if here := found_in_file(canaries, path):
            found[str(path)] = here
    return found, num_files


@contextlib.contextmanager
def connection(server: Server) -> Iterator[Connection]:
    engine = create_engine(server.service.registry._database.url)
    with engine.begin() as connected:
        yield connected
    engine.dispose()


# what is submitted


def noise(seconds: float = 3.0) -> NDArray[np.float32]:
    """New in each run, so that what an earlier one left, or another one holds now, is not taken for ours."""
    rng = np.random.default_rng(secrets.randbits(64))
    samples_T = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE_HZ))
    return np.asarray(np.rint(samples_T * 32_768) / 32_768, np.float32)  # what FLAC of 16 bits keeps


def detected(server: Server, canaries: Canaries, name: str, send: Callable[[bytes], object]) -> None:
    wav_T = noise()
    data = flac(wav_T)
    canaries.add(name, data, wav_T, decode(data).wav_T)
    answer = send(data)
    assert answer.status_code == 200, answer.text
    assert answer.json()["input"]["sha256"] == hashlib.sha256(data).hexdigest()


def by_url(server: Server, data: bytes) -> object:
    class OneFile(Files):
        def answer_file(self, _: str) -> None:
            self.send(200, data)

    state = server.app.state
    strict = state.fetcher
    with files(OneFile) as port:
        state.fetcher = Fetcher(5.0, Policy(lambda address: str(address) == "127.0.0.1", frozenset({port})))
        try:
            return server.anonymous.post("/v1/detections", json={"url": f"http://127.0.0.1:{port}/file"})
        finally:
            state.fetcher = strict


def marked(server: Server, canaries: Canaries, name: str, **headers: str) -> NDArray[np.float32]:
    """POST /v1/marks; what it took, and what it released, are both looked for."""
    wav_T = noise(8.0)
    data = flac(wav_T)
    answer = server.client.post("/v1/marks", content=data, headers=FLAC | headers)
    assert answer.status_code == 200, answer.text
    released_T = decode(answer.content).wav_T
    content_id = int(answer.headers["Earmark-Content-Id"], 16)
    exact_T = server.service.embedder.mark(wav_T, SAMPLE_RATE_HZ, payload=content_id)
    assert np.max(np.abs(exact_T - released_T)) < 1e-3, "these are not the samples that it made"
    canaries.add(f"{name}, taken", data, wav_T)
    canaries.add(f"{name}, released", answer.content, released_T, exact_T)
    return released_T


def test_what_was_submitted_is_nowhere_after_the_answer(server: Server) -> None:
    since_s = time.time() - 1
    canaries = Canaries()
    post = server.client.post

    detected(server, canaries, "raw", lambda data: post("/v1/detections", content=data, headers=FLAC))
    detected(
        server, canaries, "a form", lambda data: post("/v1/detections", files={"file": ("a.flac", data)})
    )
    detected(server, canaries, "by URL", lambda data: by_url(server, data))
    detected(
        server,
        canaries,
        "without a key, with its outline",
        lambda data: server.anonymous.post(
            "/v1/detections", params={"waveform": 100}, content=data, headers=FLAC
        ),
    )

    released_T = marked(server, canaries, "a mark")
    marked(server, canaries, "a mark whose answer is kept", **{"Idempotency-Key": str(uuid.uuid4())})

    cut = encode(released_T[SAMPLE_RATE_HZ // 2 :], SAMPLE_RATE_HZ, "wav")
    answer = server.detect(cut)
    assert answer["verdict"].startswith("issued_here"), answer["verdict_reason"]
    canaries.add("marked audio", cut, decode(cut).wav_T)

    broken = b"fLaC" + secrets.token_bytes(5_000)
    assert post("/v1/detections", content=broken, headers=FLAC).status_code == 422
    canaries.add("no audio", broken)

    found, num_files = search(server, canaries, since_s)
    assert found == {}
    assert num_files > 500, "the database's own files are among them"


def test_of_what_was_released_the_registry_keeps_the_hash_of_its_samples(server: Server) -> None:
    """The one thing that the search above leaves out: with it the registry says what a generation was."""
    answer = server.client.post("/v1/marks", content=flac(noise(8.0)), headers=FLAC)
    (row,) = server.service.registry.generations(limit=1)
    assert str(row.generation_id) == answer.headers["Earmark-Generation-Id"]
    kept = Canaries({bytes.fromhex(row.pcm_sha256 or ""): "released samples: their hash"})
    with connection(server) as connected:
        assert set(found_in_tables(kept, connected)) == {"generation"}


@pytest.mark.parametrize("folder", [None, *TEMPORARY], ids=str)
def test_the_search_finds_what_is_planted_in_a_folder(server: Server, folder: Path | None) -> None:
    """Else finding nothing says nothing. A file deep inside, and one whose canary lies over two readings."""
    since_s = time.time() - 1
    planted = Canaries()
    wav_T = noise()
    planted.add("planted", flac(wav_T), wav_T)
    where = Path(tempfile.mkdtemp(prefix="earmark-", dir=folder or server.service.settings.data_dir))
    try:
        inner = where / "a" / "b"
        inner.mkdir(parents=True)
        for number, one in enumerate(planted.of):
            (inner / f"{number}").write_bytes(b"x" * number + one + b"y")
        (where / "long").write_bytes(bytes(CHUNK_BYTES - 30) + next(iter(planted.of)))
        found = {
            path: found_in_file(planted, path)
            for path in touched_files(server, since_s)
            if path.is_relative_to(where)
        }
    finally:
        for path in sorted(where.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        where.rmdir()
    assert len(found) == len(planted.of) + 1 and all(found.values())
    assert set().union(*found.values()) == set(planted.of.values())


def test_the_search_finds_what_is_planted_in_a_table_or_in_a_file_without_a_name(server: Server) -> None:
    planted = Canaries()
    wav_T = noise()
    planted.add("planted", flac(wav_T), wav_T)
    with connection(server) as connected:
        connected.execute(text("CREATE TABLE planted (body bytea, words text)"))
        try:
            for one in planted.of:
                words = one.decode("latin-1") if one.isalnum() else ""
                connected.execute(
                    text("INSERT INTO planted VALUES (:body, :words)"), {"body": one, "words": words}
                )
            found = found_in_tables(planted, connected)
        finally:
            connected.execute(text("DROP TABLE planted"))
    assert found == {"planted": set(planted.of.values())}
    with tempfile.TemporaryFile() as file:
        file.write(flac(wav_T))
        file.flush()
        assert any(found_in_file(planted, path) for path in open_files())
