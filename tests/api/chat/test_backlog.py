"""What nobody listened to is bounded, and it is the oldest that goes."""

import anyio
import pytest

from api.chat.backlog import Backlog


def packet(number: int) -> bytes:
    return bytes([31 << 3, number])  # 20 ms of CELT


def test_the_oldest_are_forgotten_and_counted() -> None:
    async def run() -> None:
        backlog = Backlog(max_s=0.1)
        for number in range(8):
            backlog.add(packet(number))
        assert backlog.dropped_s == pytest.approx(0.06)
        assert [await backlog.take() for _ in range(5)] == [packet(number) for number in range(3, 8)]

    anyio.run(run)


def test_a_thousand_tiny_packets_of_120_ms_are_two_seconds() -> None:
    """Two bytes can say 120 ms: 64 kB of them would be an hour of decoding."""
    backlog = Backlog(max_s=2.0)
    for _ in range(1000):
        backlog.add(bytes([31 << 3 | 3, 6]))
    assert len(backlog._packets) == 16


def test_what_is_no_packet_takes_no_room() -> None:
    backlog = Backlog(max_s=0.1)
    for _ in range(1000):
        backlog.add(bytes([31 << 3 | 3, 63]))
    assert not backlog._packets and not backlog.dropped_s


def test_take_waits_for_what_comes_later() -> None:
    async def run() -> None:
        backlog, taken = Backlog(max_s=1.0), []

        async def take() -> None:
            taken.extend([await backlog.take(), await backlog.take()])

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                for number in range(2):
                    await anyio.wait_all_tasks_blocked()
                    backlog.add(packet(number))
        assert taken == [packet(0), packet(1)]

    anyio.run(run)
