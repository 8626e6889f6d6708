"""What clients send and do not read: each is bounded, none hurts another, and a mistake ends nothing."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from api.chat import session, wire
from api.chat.protocol import MAX_MESSAGE_BYTES, Kind
from api.chat.voice import Voice
from audio import ogg
from registry import GenerationState
from tests.api.chat.conftest import FRAME_S, Client, Stage, Staged, pulse
from tests.api.chat.parrot import Parrot
from tests.api.chat.test_session import seated, spoke


def test_nonsense_ends_nothing(staged: Staged) -> None:
    """In the reference server one byte that is no Ogg kills the session."""
    rng = random.Random(0)
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        client.say(3)
        for message in (
            b"", b"\x01", b"\x00", b"\x03\x00", b"\x04{}", b"\x05no", b"\x06", b"\x07colour", b"\xff" * 9,
            b"\x01OggS", b"\x01OggS" + bytes(60), b"\x01" + rng.randbytes(3000),
            b"\x01" + ogg.write_page(rng.randbytes(500), serial=42, sequence=9, granule=0),
            b"\x01" + ogg.write_page(b"OpusHead", serial=42, sequence=10, granule=0),
        ):  # fmt: skip
            client.socket.send(message)
        client.socket.send("a text frame")
        client.say(10)
        client.listen(spoke(9))
        assert not client.of(Kind.ERROR)


def test_audio_without_its_headers_is_heard(staged: Staged) -> None:
    """After a queue the first pages are gone."""
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        client._writer.append_pcm(np.zeros(1920, np.float32))
        client.say(10)
        client.listen(spoke(9))


def test_a_message_that_is_too_long_is_refused(staged: Staged) -> None:
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        client.socket.send(bytes(MAX_MESSAGE_BYTES + 1))
        client.until_closed()
        assert client.close_code == 1009
        stage.wait_for(lambda: not stage.parrot.heard)


def test_a_flood_is_ended_and_the_server_answers_meanwhile(staged: Staged) -> None:
    """Forged page heads are the dearest bytes to send us: each costs a checksum."""
    head = b"OggS\0" + bytes(21) + b"\xff" + b"\x1f" * 255
    message = b"\x01" + head * (MAX_MESSAGE_BYTES // len(head))
    with staged() as stage, pulse(stage.url) as beat, stage.client() as client:
        client.listen(seated)
        with pytest.raises(ConnectionClosed):
            while True:
                client.socket.send(message)
        client.until_closed()
        assert client.close_code == 1008
        assert b"more than speech" in client.of(Kind.ERROR)[0]
    assert beat.median_s < 0.2


def test_many_tiny_messages_are_a_flood_too(staged: Staged) -> None:
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        with pytest.raises(ConnectionClosed):
            for _ in range(200_000):
                client.socket.send(b"\x06")
        client.until_closed()
        assert client.close_code == 1008


def test_faster_than_real_time_is_heard_in_real_time(staged: Staged) -> None:
    """Otherwise one client could use the model as much as ten."""
    with staged() as stage, stage.client() as client:
        client.listen(seated)
        started = time.monotonic()
        for _ in range(25):
            client.say(20)  # 40 s in all
        time.sleep(1.5)
        most = (time.monotonic() - started + session.BACKLOG_S) / FRAME_S + session.MAX_UNDER_WAY
        assert len(stage.parrot.heard[0]) <= most + 2
        client.listen(spoke(2))
        assert len(client.of(Kind.TEXT)) <= most + 2


def test_a_client_that_does_not_read_is_dropped(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffers are full of long words; without a limit its row would be held for the whole session."""
    monkeypatch.setattr(wire, "SEND_TIMEOUT_S", 0.5)
    parrot = Parrot()
    with staged(parrot) as stage:
        deaf = socket.create_connection(stage.address)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with stage.client(sock=deaf, max_queue=1) as client:
            client.listen(seated)
            parrot.word = "x" * 1_000_000
            deadline = time.monotonic() + 20
            while parrot.heard and time.monotonic() < deadline:
                client.say(5)
                time.sleep(0.1)
            assert not parrot.heard, "it still holds its row"
            parrot.word = " word"
            with stage.client() as another:
                another.listen(seated)
            deaf.close()
        stage.wait_for(lambda: stage.generations()[-1].state is GenerationState.COMPLETE)


@contextmanager
def _talking(stage: Stage) -> Iterator[Client]:
    with stage.client() as client:
        client.listen(seated)
        client.say(10)
        client.listen(spoke(8))
        yield client


def test_a_decoder_that_dies_ends_its_own_session(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a packet would do that takes it over. What was said until then is complete."""
    voices: list[Voice] = []
    opened = Voice.open.__func__  # type: ignore[attr-defined]

    def keep(cls: type[Voice], *args: object) -> Voice:
        voices.append(opened(cls, *args))
        return voices[-1]

    monkeypatch.setattr(Voice, "open", classmethod(keep))
    with staged(Parrot(2), chat_streams=2) as stage, ExitStack() as clients:
        one, two = (clients.enter_context(_talking(stage)) for _ in range(2))
        voices[0]._decoder._child.kill()
        one.say(5)
        one.until_closed()
        assert one.close_code == 1008
        two.say(10)
        two.listen(spoke(15))
        stage.wait_for(lambda: stage.generations()[1].state is GenerationState.COMPLETE)


def test_a_client_that_breaks_off_leaves_nothing_behind(staged: Staged) -> None:
    """No close frame: a phone that lost its network."""
    with staged() as stage:
        broken = socket.create_connection(stage.address)
        with stage.client(sock=broken) as client:
            client.listen(seated)
            client.say(10)
            client.listen(spoke(8))
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            broken.shutdown(socket.SHUT_RDWR)
        stage.wait_for(lambda: not stage.parrot.heard)
        stage.wait_for(lambda: stage.generations()[0].state is GenerationState.COMPLETE)
        stage.wait_for(lambda: not stage.room._sessions)


def test_two_clients_that_leave_while_waiting_give_their_places_back(staged: Staged) -> None:
    def told(client: Client) -> bool:
        return bool(client.of(Kind.METADATA))

    with staged(chat_waiting=1) as stage, stage.client() as first:
        first.listen(seated)
        for _ in range(3):
            with stage.client() as waiting:
                waiting.listen(told)
            stage.wait_for(lambda: stage.room._line.num_waiting == 0)
