"""A conversation over a real server: the order of things, what is registered, who waits, and how it ends."""

import json
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from api.chat import session
from api.chat.protocol import Kind
from registry import DatabaseUnavailable, GenerationState, LogUnavailable, Recording, Registry
from tests.api.chat.conftest import FRAME_S, Client, Staged, pulse
from tests.api.chat.parrot import Parrot
from tests.api.conftest import flac

COMPLETE, ABORTED, OPEN = GenerationState.COMPLETE, GenerationState.ABORTED, GenerationState.OPEN


def spoke(num_words: int):
    return lambda client: len(client.of(Kind.TEXT)) >= num_words


def seated(client: Client) -> bool:
    return client.seated


def test_what_the_client_hears_was_issued_here(staged: Staged) -> None:
    """The purpose of it all: speech that left over the websocket is recognised."""
    with staged() as stage:
        with stage.client() as client:
            client.listen(seated)
            assert client.messages == [b"\x00"]
            (row,) = stage.generations()  # durable before the first packet
            assert (row.state, row.system, row.model) == (OPEN, "earmark", "parrot")
            assert dict(row.metadata) == {}
            for _ in range(4):
                client.say(20)
                time.sleep(20 * FRAME_S)
            client.listen(spoke(79))
        stage.wait_for(lambda: stage.generations()[0].state is COMPLETE)
        (row,) = stage.generations()
        heard_T = client.heard()
        assert len(heard_T) / 24_000 == pytest.approx(row.duration_s, abs=0.2)
        answer = stage.service.detect(flac(heard_T))
        assert answer.verdict == "issued_here"
        assert answer.generation is not None
        assert answer.generation.generation_id == row.generation_id
        assert set(client.of(Kind.TEXT)) == {b" word"}


def test_who_asks_is_told_the_ids_and_the_end_of_a_session_is_in_the_log(staged: Staged) -> None:
    """A receipt that exists only once somebody else generates something is none for whoever waits for it."""
    with staged() as stage:
        with stage.client("?provenance=true") as client:
            client.say(4)
            client.listen(lambda heard: heard.of(Kind.METADATA))
            (names,) = map(json.loads, client.of(Kind.METADATA))
            client.listen(spoke(1))
        stage.wait_for(lambda: stage.generations()[0].state is COMPLETE)
        (row,) = stage.generations()
        assert names == {
            "generation_id": str(row.generation_id),
            "content_id": f"{row.content_id:012x}",
        }

        def is_public() -> bool:
            with suppress(LogUnavailable):  # it may have its index and not be in the signed tree yet
                return json.loads(log.receipt(row.generation_id).leaf)["event"] == "finished"
            return False

        log = stage.service.registry.log
        stage.wait_for(is_public)


def test_the_model_hears_what_the_client_says_in_order(staged: Staged) -> None:
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        wav_T = 0.3 * np.sin(2 * np.pi * np.arange(12 * 1920) * np.linspace(100, 2000, 12 * 1920) / 24_000)
        client.say(wav_T.astype(np.float32))
        client.listen(spoke(10))
        heard_T = np.concatenate(stage.parrot.heard[0])
        late = np.correlate(heard_T[: 8 * 1920], wav_T[: 7 * 1920], "valid").argmax()
        assert np.corrcoef(heard_T[late : late + 7 * 1920], wav_T[: 7 * 1920])[0, 1] > 0.95


def test_who_waits_is_told_where_and_is_seated_in_order(staged: Staged) -> None:
    """Also: speech sent before the handshake is kept, the last 2 s of it, as the official client needs."""
    with staged() as stage, stage.client() as first:
        first.listen(seated)
        with stage.client() as second, stage.client() as third:
            second.listen(lambda client: len(client.messages) == 1)
            third.listen(lambda client: len(client.messages) == 1)
            assert json.loads(second.of(Kind.METADATA)[0]) == {"queue_position": 1}
            assert json.loads(third.of(Kind.METADATA)[0]) == {"queue_position": 2}
            assert len(stage.generations()) == 1  # who waits has no generation
            second.say(100)  # 8 s
            time.sleep(0.5)
            first.socket.close()
            second.listen(seated)
            third.listen(lambda client: len(client.messages) == 2)
            assert json.loads(third.of(Kind.METADATA)[1]) == {"queue_position": 1}
            second.listen(spoke(22))
            time.sleep(0.3)
            assert len(second.of(Kind.TEXT)) <= 2.0 / FRAME_S
            assert not third.seated
            second.socket.close()
            third.listen(seated)


def test_a_full_line_is_an_error_and_a_close(staged: Staged) -> None:
    with staged(chat_waiting=0) as stage, stage.client() as first, stage.client() as second:
        first.listen(seated)
        second.until_closed()
        assert second.close_code == 1013
        (sentence,) = second.of(Kind.ERROR)
        assert b"come back" in sentence
        assert second.close_reason == sentence.decode()


def test_a_silent_server_pings(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    """The web client closes after 10 s without a message."""
    assert session.PING_AFTER_S < 5
    monkeypatch.setattr(session, "PING_AFTER_S", 0.2)
    with staged() as stage, stage.client() as first, stage.client() as second:
        for client in (first, second):
            client.listen(lambda client: len(client.of(Kind.PING)) >= 2)


def test_the_limit_ends_a_session_in_order(staged: Staged) -> None:
    with staged(chat_session_s=1.5) as stage, stage.client() as client:
        client.listen(seated)
        client.say(20)
        client.until_closed()
        assert client.close_code == 1000 and "limit" in client.close_reason
        assert not client.of(Kind.ERROR)
        (row,) = stage.generations()
        assert row.state is COMPLETE
        assert client.messages[-1][1:].rpartition(b"OggS")[2][1] == 4  # the stream's last page is marked so
        assert len(client.heard()) / 24_000 == pytest.approx(row.duration_s, abs=0.05)
        with stage.client() as another:
            another.listen(seated)


def test_a_client_that_leaves_frees_its_row_at_once(staged: Staged) -> None:
    with staged() as stage:
        for _ in range(3):
            with stage.client() as client:
                client.listen(seated, timeout_s=2)
                client.say(5)
                client.listen(spoke(3))
            stage.wait_for(lambda: not stage.parrot.heard, timeout_s=1)
        stage.wait_for(lambda: all(one.state is COMPLETE for one in stage.generations()))
        assert len(stage.generations()) == 3


def test_a_session_in_which_nothing_was_said_is_aborted(staged: Staged) -> None:
    """A complete generation of no audio would say that something was issued."""
    with staged() as stage:
        with stage.client() as client:
            client.listen(seated)
        stage.wait_for(lambda: stage.generations()[0].state is ABORTED)


def test_several_talk_at_once_on_rows_of_one_model(staged: Staged) -> None:
    parrot = Parrot(3, step_s=0.03)
    with staged(parrot, chat_streams=3) as stage:
        with stage.client() as one, stage.client() as two, stage.client() as three:
            for client in (one, two, three):
                client.listen(seated)
            for _ in range(6):
                for client in (one, two, three):
                    client.say(5)
            for client in (one, two, three):
                client.listen(spoke(20))
        stage.wait_for(lambda: all(row.state is COMPLETE for row in stage.generations()))
        assert any(len(batch) == 3 for batch in parrot.batches)
        issued = {
            stage.service.detect(flac(client.heard())).generation.generation_id  # type: ignore[union-attr]
            for client in (one, two, three)
        }
        assert issued == {row.generation_id for row in stage.generations()}


def test_the_server_answers_others_while_it_talks(staged: Staged) -> None:
    """In the reference server the model runs inside the event loop, and everybody waits for each step."""
    with ExitStack() as opened:
        stage = opened.enter_context(staged(Parrot(2, step_s=0.3), chat_streams=2))
        beat = opened.enter_context(pulse(stage.url))
        clients = [opened.enter_context(stage.client()) for _ in range(2)]
        for client in clients:
            client.listen(seated)
            client.say(20)
        clients[0].listen(spoke(8))
    assert len(beat.times_s) > 20
    assert beat.median_s < 0.05


def test_a_fault_of_the_model_is_said_and_the_next_client_is_served(staged: Staged) -> None:
    def fail() -> None:
        raise RuntimeError("secret of the inside")

    with staged() as stage:
        with stage.client() as client:
            client.listen(seated)
            client.say(10)
            client.listen(spoke(3))
            stage.parrot.on_step = fail
            client.say(10)
            client.until_closed()
            assert client.close_code == 1011
            (sentence,) = client.of(Kind.ERROR)
            assert b"failed" in sentence and b"secret" not in sentence
        assert stage.generations()[0].state is ABORTED
        stage.parrot.on_step = lambda: None
        with stage.client() as client:
            client.listen(seated)


def test_what_cannot_be_registered_is_not_released(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with staged() as stage, stage.client() as client:
        client.listen(seated)
        monkeypatch.setattr(Recording, "push", away)
        client.say(10)
        client.until_closed()
        assert client.close_code == 1011
        assert not client.of(Kind.AUDIO)
        monkeypatch.undo()


def test_a_server_that_stops_ends_its_sessions_in_order(staged: Staged, database_url: str) -> None:
    with ExitStack() as clients:
        with staged() as stage:
            client, waiting = (clients.enter_context(stage.client()) for _ in range(2))
            client.listen(seated)
            client.say(10)
            client.listen(spoke(5))
            waiting.listen(lambda client: len(client.messages) == 1)
            started = time.monotonic()
        assert time.monotonic() - started < 10
        for one in (client, waiting):
            one.until_closed()
            assert one.close_code == 1012
    with Registry.open(database_url) as registry:
        (row,) = registry.generations(limit=10)
        assert row.state is COMPLETE


def test_without_a_model_the_refusal_says_so(staged: Staged) -> None:
    with staged(model=None) as stage:
        assert stage.ready()["chat"] == "off"
        with stage.client() as client:
            client.until_closed()
            assert client.close_code == 1011
            assert b"--model" in client.of(Kind.ERROR)[0]
    with staged() as stage:
        assert stage.ready()["chat"] == "ok"


def test_a_parameter_that_does_not_fit_is_refused_and_one_that_fits_arrives(staged: Staged) -> None:
    with staged() as stage:
        with stage.client("?text_temperature=hot") as client:
            client.until_closed()
            assert client.close_code == 1008
            assert b"text_temperature" in client.of(Kind.ERROR)[0]
            assert not client.seated
        with stage.client("?audio_topk=7&audio_seed=5") as client:
            client.listen(seated)
        row, seed, sampling = stage.parrot.opened[-1]
        assert (row, seed, sampling.top_k) == (0, 5, 7)
