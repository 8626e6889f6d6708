"""The published Python client talks to our server: its own `Connection`, its own Opus, a fake sound card."""

import asyncio
import io
import re
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray

from api.app import load_dialogue
from audio import decode
from registry import GenerationState
from tests.api.chat.conftest import FRAME_S, Stage, Staged
from tests.api.chat.parrot import FRAME_SAMPLES
from tests.api.conftest import flac, recording
from tests.generation.tiny import write_tiny_checkpoint

UNKNOWN_TO_IT = {"0", "6"}
"""Kinds of the protocol that it names as unknown and passes over: the handshake, and a ping on a slow day."""

Callback = Callable[[NDArray[np.float32], int, Any, Any], None]


class SoundCard:
    """Calls back every 80 ms, as a card would: speaks a recording, and records what is played."""

    def __init__(self) -> None:
        self.played: list[NDArray[np.float32]] = []
        self._voice_T = decode(recording("kathleen_1")).wav_T
        self._at = 0

    def module(self) -> ModuleType:
        """What `import sounddevice` gives."""
        module: Any = types.ModuleType("sounddevice")
        module.InputStream = lambda **options: _Stream(self._record, **options)
        module.OutputStream = lambda **options: _Stream(self._play, **options)
        return module  # type: ignore[no-any-return]

    def _record(self, callback: Callback) -> None:
        block_T = self._voice_T[self._at : self._at + FRAME_SAMPLES]
        self._at = (self._at + FRAME_SAMPLES) % (len(self._voice_T) - FRAME_SAMPLES)  # over and over
        callback(block_T[:, None], FRAME_SAMPLES, None, None)

    def _play(self, callback: Callback) -> None:
        block = np.empty((FRAME_SAMPLES, 1), np.float32)
        callback(block, FRAME_SAMPLES, None, None)
        self.played.append(block[:, 0].copy())


class _Stream:
    def __init__(
        self,
        tick: Callable[[Callback], None],
        *,
        samplerate: float,
        channels: int,
        blocksize: int,
        callback: Callback,
    ) -> None:
        assert (samplerate, channels, blocksize) == (24_000, 1, FRAME_SAMPLES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(tick, callback))

    def _run(self, tick: Callable[[Callback], None], callback: Callback) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            tick(callback)
            due += FRAME_S

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def talk(
    stage: Stage, card: SoundCard, monkeypatch: pytest.MonkeyPatch, until: Callable[[str], bool]
) -> tuple[str, str]:
    """Let the published client talk until its text is so; what it printed as text, and what it logged."""
    monkeypatch.setitem(sys.modules, "sounddevice", card.module())
    monkeypatch.delitem(sys.modules, "moshi.client", raising=False)
    from moshi.client import Connection
    from moshi.client_utils import RawPrinter

    text, notes = io.StringIO(), io.StringIO()
    printer = RawPrinter(text, notes)

    async def run() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(stage.url.replace("http", "ws") + "/api/chat") as socket,
        ):
            connection = Connection(printer, socket, event_loop=asyncio.get_running_loop())
            running = asyncio.create_task(connection.run())
            async with asyncio.timeout(120):
                while not until(text.getvalue()):
                    assert not running.done(), notes.getvalue()
                    await asyncio.sleep(0.05)
            await socket.close()
            await running

    asyncio.run(run())
    return text.getvalue(), notes.getvalue()


def test_the_official_client_hears_marked_speech_and_reads_text(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SoundCard()
    with staged() as stage:
        text, notes = talk(stage, card, monkeypatch, lambda text: len(text.split()) >= 75)
        stage.wait_for(lambda: stage.generations()[0].state is GenerationState.COMPLETE)
        (row,) = stage.generations()
        assert set(text.split()) == {"word"}
        assert UNKNOWN_TO_IT >= set(re.findall(r"message kind (\d+)", notes)) >= {"0"}
        played_T = np.concatenate(card.played)
        answer = stage.service.detect(flac(played_T))
        assert answer.generation is not None, answer.verdict_reason
        assert answer.generation.generation_id == row.generation_id
        assert answer.verdict in ("issued_here", "issued_here_altered")  # its gaps are silence that it plays


def test_the_official_client_talks_to_the_model_itself(
    staged: Staged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole chain: a checkpoint from a folder, its codec and tokenizer, its random words."""
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny", seed=3)
    card = SoundCard()
    with staged(load_dialogue, model=str(checkpoint)) as stage:
        _, notes = talk(stage, card, monkeypatch, lambda text: len(text) > 20)
        assert UNKNOWN_TO_IT >= set(re.findall(r"message kind (\d+)", notes)) >= {"0"}
        assert max(float(np.abs(block_T).max()) for block_T in card.played) > 0.01
        (row,) = stage.generations()
        assert row.model == "tiny"
