"""Write one generation, killed before the n-th step, for n = 1, 2, … until nothing is left to interrupt.

    python -m tests.registry.killed_writer DATABASE_URL

A step is a statement sent to the database or a commit, so a kill falls between every pair of writes. Each
attempt is a forked child of its own with its own connections; it reports what it was told is durable before
it goes on, as the service would release audio. Prints one JSON object for each attempt.
"""

import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from registry import generations
from registry.database import Database
from registry.owner import OwnerLock
from registry.recording import Recording
from registry.records import NewGeneration
from tests.registry.plain import PlainFingerprinter, speech

NUM_SAMPLES, CHUNK_SAMPLES = 84_000, 16_800  # 3.5 s in pushes of 0.7 s: writes of one and of two windows


def write(url: str, kill_before: int, report: Any) -> None:
    database = Database(url)
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine, "before_cursor_execute", step)
    event.listen(database.engine, "commit", step)
    owner = OwnerLock(database)
    owner.hold()
    with database.transaction() as connection:
        model = generations.ensure_model(connection, "ef" * 32, "1")
        new = NewGeneration("test", "1", "none", 24_000, {"kill_before": kill_before})
        generation = generations.begin(connection, new, owner.number)
    report({"begun": str(generation.generation_id)})
    recording = Recording(database, owner, PlainFingerprinter(), model, generation.generation_id)
    samples = speech(NUM_SAMPLES, seed=kill_before)
    for start in range(0, NUM_SAMPLES, CHUNK_SAMPLES):
        recording.push(samples[start : start + CHUNK_SAMPLES])
        report({"pushed": start + CHUNK_SAMPLES})
    recording.finish()
    report({"complete": True})


def attempt(url: str, kill_before: int) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            write(url, kill_before, lambda said: os.write(writing, json.dumps(said).encode() + b"\n"))
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        said: dict[str, Any] = {"kill_before": kill_before, "begun": None, "pushed": 0, "complete": False}
        for line in lines:
            said |= json.loads(line)
    _, status = os.waitpid(pid, 0)
    return said | {
        "killed": os.WIFSIGNALED(status),
        "failed": os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0,
    }


def main() -> None:
    kill_before, killed = 0, True
    while killed:
        kill_before += 1
        outcome = attempt(sys.argv[1], kill_before)
        killed = outcome["killed"]
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
