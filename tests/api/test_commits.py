"""Each commit of a file that is marked, and of a stream, fails: lost, or kept and reported as failed.

Once, or all from there on, as when the database goes away for longer; and then somebody marks the next file.
Afterwards nothing is open, whatever was released is as the log and the index say, and no row is there that
none of the attempts began.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from api.marking import MarkedFile, Origin
from api.service import Service
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, decode
from registry import DatabaseUnavailable, Generation, GenerationFilter, GenerationState, RegistryError
from tests.api.conftest import flac, recording
from tests.registry.failing_commits import KEPT, LASTING, Fault, failing_commit
from tests.registry.log.conftest import assert_sound

SPEECH_T = decode(recording("amelia")).wav_T[: 5 * SAMPLE_RATE_HZ // 2]
FRAME_SAMPLES = 1920
MAX_UNREGISTERED_S = 1.0 + 0.08 + 0.02
"""The second between two writes, the push in which it ends, and what the embedder still held."""


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    with Service.open(Settings(data_dir=tmp_path / "data", database_url=database_url)) as service:
        yield service


def each_commit(
    service: Service, kept: bool, lasting: bool, attempt: Callable[[str], object]
) -> list[tuple[str, Fault, int]]:
    """Attempt again and again, with the first commit failing, the second, until there is no n-th."""
    done: list[tuple[str, Fault, int]] = []
    while not done or done[-1][1].count >= done[-1][2]:
        nth = len(done) + 1
        with failing_commit(service.registry._database, nth, kept, lasting) as fault:
            attempt(f"commit {nth}")
        done.append((f"commit {nth}", fault, nth))
    return done


def rows(service: Service) -> list[Generation]:
    return service.registry.generations(1000)


def assert_settled(service: Service) -> None:
    """Nothing is open, the log is sound, the index agrees, and every row's receipt is of how it ended."""
    registry = service.registry
    assert registry.generations(1, None, GenerationFilter(state=GenerationState.OPEN)) == []
    assert_sound(registry._database, registry.log)
    assert registry.index.check().passed
    ended = {GenerationState.COMPLETE: "finished", GenerationState.ABORTED: "aborted"}
    for row in rows(service):
        entries = registry.log.entries_of([row.generation_id])
        assert [json.loads(entry.leaf)["event"] for entry in entries] == ["begun", ended[row.state]]
        receipt = registry.log.receipt(row.generation_id)
        assert receipt.verify(registry.log.signer.trust).entry["event"] == ended[row.state]


@KEPT
@LASTING
def test_a_file_that_is_marked_while_a_commit_fails_is_released_whole_or_not_at_all(
    service: Service, kept: bool, lasting: bool
) -> None:
    data = flac(SPEECH_T)
    released: dict[str, MarkedFile] = {}

    def mark(name: str) -> None:
        with contextlib.suppress(DatabaseUnavailable):
            released[name] = service.mark_file(data, Origin(system=name))

    done = each_commit(service, kept, lasting, mark)
    names = [name for name, _, _ in done]
    assert len(done) == 5, "begin, model, fingerprints, the end; and the attempt that met no fault"
    assert list(released) == names[-1:], "it was told that the database is away, and got a file"
    mark("the next")
    assert_settled(service)
    state = {row.system: row.state for row in rows(service)}
    assert len(state) == len(rows(service)), "one attempt, one row"
    begun = names if kept else names[1:]  # the first commit is the one that begins it
    assert state.keys() == {*begun, "the next"}
    complete = {name for name in state if state[name] is GenerationState.COMPLETE}
    kept_end = {names[3]} if kept else set()  # complete, of audio that nobody got: as a crash leaves it
    assert complete == {*released, *kept_end}
    for name, marked in released.items():
        verified = marked.receipt.verify(service.registry.log.signer.trust)
        assert verified.entry["event"] == "finished"
        assert marked.receipt.check_audio(marked.data, lambda: b"") == "file"
        answer = service.detect(marked.data)
        assert answer.verdict == "issued_here" and answer.generation is not None
        assert answer.generation.system == name


@dataclass
class Heard:
    """What a listener got of one stream."""

    pieces: list[NDArray[np.float32]] = field(default_factory=list)
    is_whole: bool = False

    @property
    def wav_T(self) -> NDArray[np.float32]:  # noqa: N802
        return np.concatenate([np.zeros(0, np.float32), *self.pieces])


def speak(service: Service, name: str, heard: Heard) -> None:
    """As whoever speaks live: push, release, finish; after an error abort, and no more."""
    try:
        stream = service.open_stream(name)
    except DatabaseUnavailable:
        return
    try:
        for at in range(0, len(SPEECH_T), FRAME_SAMPLES):
            heard.pieces.append(stream.push(SPEECH_T[at : at + FRAME_SAMPLES]))
        heard.pieces.append(stream.finish())
        heard.is_whole = True
    except DatabaseUnavailable:
        with contextlib.suppress(RegistryError):
            stream.abort()


@KEPT
@LASTING
def test_a_stream_of_which_a_commit_fails_is_ended_and_what_was_heard_is_known(
    service: Service, kept: bool, lasting: bool
) -> None:
    listeners: dict[str, Heard] = {}
    done = each_commit(
        service, kept, lasting, lambda name: speak(service, name, listeners.setdefault(name, Heard()))
    )
    names = [name for name, _, _ in done]
    assert len(done) == 6, "begin, model, two writes, the end; and the attempt that met no fault"
    assert [name for name, heard in listeners.items() if heard.is_whole] == names[-1:]
    speak(service, "the next", listeners.setdefault("the next", Heard()))
    assert_settled(service)
    by_name = {row.model: row for row in rows(service)}
    assert len(by_name) == len(rows(service)), "one attempt, one row"
    assert by_name.keys() == {*(names if kept else names[1:]), "the next"}
    for name, heard in listeners.items():
        assert name in by_name or not len(heard.wav_T), "something was heard of which there is no row"
        if name in by_name:
            end_was_kept = kept and name == names[4]
            assert_known(service, by_name[name], heard, end_was_kept)


def assert_known(service: Service, row: Generation, heard: Heard, end_was_kept: bool) -> None:
    """`end_was_kept`: the row is complete, and the tail that it has was heard by nobody."""
    is_complete = row.state is GenerationState.COMPLETE
    assert is_complete == (heard.is_whole or end_was_kept)
    heard_s = len(heard.wav_T) / SAMPLE_RATE_HZ
    assert row.duration_s >= heard_s - MAX_UNREGISTERED_S
    if heard.is_whole:
        assert row.pcm_sha256 == hashlib.sha256(heard.wav_T.astype("<f4").tobytes()).hexdigest()
    elif heard_s >= 1.5:
        prepared = service.registry.prepare(heard.wav_T, SAMPLE_RATE_HZ)
        assert service.registry.compare(row.generation_id, prepared).outcome == "found"
